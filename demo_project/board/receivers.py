"""From a model's signals to its readers' pages: publish() waits for the commit by itself."""

from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.template.loader import render_to_string

from demo_project.board.models import Announcement
from django_sse import publish


@receiver(post_save, sender=Announcement)
def publish_saved(instance, **kwargs):
    html = render_to_string("board/_announcement.html", {"announcement": instance})
    publish("board", html, event="saved")


@receiver(post_delete, sender=Announcement)
def publish_deleted(instance, **kwargs):
    publish("board", {"pk": instance.pk}, event="deleted")
