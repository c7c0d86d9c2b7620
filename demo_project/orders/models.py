"""An order."""

from django.conf import settings
from django.db import models
from django.urls import reverse


class Order(models.Model):
    class Status(models.TextChoices):
        NEW = "new"
        PACKED = "packed"
        SHIPPED = "shipped"
        CANCELLED = "cancelled"

    OPEN = (Status.NEW, Status.PACKED)

    number = models.CharField(max_length=12, unique=True)
    customer = models.CharField(max_length=60)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="orders"
    )
    status = models.CharField(max_length=12, choices=Status, default=Status.NEW)
    total = models.DecimalField(max_digits=9, decimal_places=2)  # euros

    class Meta:
        ordering = ["-pk"]

    def __str__(self):
        return self.number

    def get_absolute_url(self):
        return reverse("presence:order", args=[self.pk])

    @property
    def group(self):
        """Who looks at the order's own page is in it."""
        return f"order.{self.pk}"
