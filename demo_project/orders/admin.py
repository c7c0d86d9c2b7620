"""Orders in the admin: saving some there changes the board, and the inboxes of their owners."""

from django.contrib import admin

from demo_project.orders.models import Order


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ["number", "customer", "owner", "total", "status"]
    list_editable = ["status"]
    list_filter = ["status"]
    search_fields = ["number", "customer"]
