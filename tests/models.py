"""A model for the tests."""

from django.db import models

__all__ = ["Room"]


class Room(models.Model):
    """A place that streams are about."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=100, default="")

    def __str__(self) -> str:
        return self.slug
