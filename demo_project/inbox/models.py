"""A note to a user, from another or from the shop."""

from django.conf import settings
from django.db import models


class Note(models.Model):
    sender = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notes_sent", null=True
    )
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notes"
    )
    body = models.CharField(max_length=280)
    sent_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-sent_at", "-pk"]

    def __str__(self):
        return f"{self.from_name} to {self.recipient}"

    @property
    def from_name(self):
        return self.sender.username if self.sender else "The shop"
