"""A build and its log."""

from django.db import models
from django.utils import timezone

TARGETS = ["Django", "this demo", "a mistake"]


class Build(models.Model):
    target = models.CharField(max_length=12)  # one of TARGETS
    state = models.CharField(max_length=12, default="running")  # passed, failed, interrupted
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)
    done = models.PositiveIntegerField(default=0)  # source files
    total = models.PositiveIntegerField(default=0)
    log = models.TextField(blank=True)

    def __str__(self):
        return f"Build {self.pk} of {self.target}"

    @property
    def seconds(self):
        return round(((self.ended_at or timezone.now()) - self.started_at).total_seconds(), 1)

    def progress(self):
        return {name: getattr(self, name) for name in ("pk", "state", "done", "total", "seconds")}
