"""Announcements in the admin: saving one there changes the pages of all readers."""

from django.contrib import admin

from demo_project.board.models import Announcement


@admin.register(Announcement)
class AnnouncementAdmin(admin.ModelAdmin):
    list_display = ["title", "created_at", "changed_at"]
    search_fields = ["title", "body"]
