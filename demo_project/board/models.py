"""An announcement."""

from django.db import models
from django.urls import reverse


class Announcement(models.Model):
    title = models.CharField(max_length=80)
    body = models.TextField(max_length=1000)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-created_at", "-pk"]

    def __str__(self):
        return self.title

    def get_absolute_url(self):
        return reverse("board:page")
