"""
Models for the tests.

Each says that it has a manager: the settings by which types are checked do not have this app.
"""

import functools
from typing import Any, ClassVar

from django.db import models
from django.utils.functional import cached_property

__all__ = [
    "Account",
    "ExportOrder",
    "Invoice",
    "Line",
    "Numbered",
    "Order",
    "Parcel",
    "Room",
    "Seat",
    "Tag",
    "UrgentOrder",
]


class Room(models.Model):
    """A place that streams are about."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=100, default="")

    def __str__(self) -> str:
        return self.slug


class Account(models.Model):
    """Who owns orders, and is told of them."""

    name = models.CharField(max_length=20)
    objects: ClassVar[Any] = models.Manager()

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    """A word that orders have in common."""

    orders: Any  # By the relation's name.
    label = models.CharField(max_length=20)
    objects: ClassVar[Any] = models.Manager()

    def __str__(self) -> str:
        return self.label


class Details(models.JSONField):
    """A field whose check does not ask the database, which tests of checks do not have."""

    def check(self, **kwargs: Any) -> list[Any]:
        return []


class Order(models.Model):
    """A model with a field of each kind that needs care."""

    owner_id: int | None
    owner = models.ForeignKey(Account, models.CASCADE, null=True)
    status = models.CharField(max_length=20, default="open")
    total = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    due = models.DateField(null=True)
    details = Details(default=dict)
    receipt = models.FileField(blank=True)
    tags = models.ManyToManyField(Tag, related_name="orders")
    objects: ClassVar[Any] = models.Manager()

    def __str__(self) -> str:
        return f"{self.pk} {self.status}"


class UrgentOrder(Order):
    """A proxy."""

    objects: ClassVar[Any] = models.Manager()

    class Meta:
        proxy = True


class ExportOrder(Order):
    """A model with a table of its own beside that of orders."""

    country = models.CharField(max_length=20)
    objects: ClassVar[Any] = models.Manager()


class Line(models.Model):
    """What goes with its order."""

    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")
    text = models.CharField(max_length=20)
    objects: ClassVar[Any] = models.Manager()

    def __str__(self) -> str:
        return self.text


class Numbered(models.Model):
    """An abstract model."""

    number = models.PositiveIntegerField()

    class Meta:
        abstract = True


class Invoice(Numbered):
    """A model that inherits its field."""

    objects: ClassVar[Any] = models.Manager()

    def __str__(self) -> str:
        return str(self.number)


class Parcel(models.Model):
    """A model with a value that the database computes, and one that Python does."""

    owner_id: int | None
    owner = models.ForeignKey(Account, models.CASCADE, null=True)
    width = models.IntegerField(default=1)
    height = models.IntegerField(default=1)
    area = models.GeneratedField(
        expression=models.F("width") * models.F("height"),
        output_field=models.IntegerField(),
        db_persist=True,
    )
    objects: ClassVar[Any] = models.Manager()

    def __str__(self) -> str:
        return self.name

    @cached_property
    def name(self) -> str:
        return f"{self.width} x {self.height}"

    @functools.cached_property
    def room(self) -> str:
        return f"owner.{self.owner_id}"


class Seat(models.Model):
    """A model whose key is two columns."""

    pk = models.CompositePrimaryKey("row", "number")
    row = models.CharField(max_length=1)
    number = models.PositiveIntegerField()
    guest = models.CharField(max_length=20, default="")
    objects: ClassVar[Any] = models.Manager()

    def __str__(self) -> str:
        return f"{self.row}{self.number}"
