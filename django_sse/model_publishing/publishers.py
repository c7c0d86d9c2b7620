"""What of a model is published, to whom, and in which form."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from asgiref.sync import sync_to_async
from django.db.models import FileField, Model, QuerySet
from django.template.loader import render_to_string

from django_sse.model_publishing.errors import errors_logged
from django_sse.model_publishing.explicit import publish_rows
from django_sse.model_publishing.rows import check_rows
from django_sse.publishing import publish

__all__ = ["CHANGES", "Change", "ModelPublisher"]

#: What can happen to a row.
Change = Literal["created", "updated", "deleted", "m2m_changed"]
CHANGES: tuple[Change, ...] = get_args(Change)


class Notice(NamedTuple):
    """An event of a row, and whom it is for."""

    groups: list[str]
    data: Any
    event: str
    key: str | None

    def publish(self) -> None:
        """Publish it now."""
        publish(self.groups, self.data, event=self.event, key=self.key, on_commit=False)


class ModelPublisher:
    """
    Publishes what happens to the rows of a model, after the commit.

    A subclass is registered in an app's ``sse.py``, with the decorator register()::

        @register(Order)
        class OrderPublisher(ModelPublisher):
            fields = ["id", "status"]

            def get_groups(self, instance):
                return ["orders", f"user.{instance.owner_id}"]

    Of a transaction each row is told once, in its last state; see get_data() for what is sent.

    Attributes:
        model: The model it is registered for.
        groups: Whom to tell; for groups that depend on the row see get_groups().
        fields: The names of the fields that are sent, or ``"__all__"``.
        exclude: Instead: send all fields but these.
        serializer: Instead: a callable of the instance, or a class of Django REST framework's.
        template_name: Instead: a template that is rendered to a fragment of HTML. Its context has
            the instance as ``object`` and by the name of its model, and ``change``.
        only: The names of fields: an update is told if one of them has changed, and in any case
            to groups that did not have the row before. None for any.
        on: Which changes are told: of "created", "updated", "deleted" and "m2m_changed".
        min_interval: Seconds between two updates of one row that are told; the last always is.
        name: What the event types begin with; the model's name in lower case by default.
        live: Whether querysets of the model can be followed; see subscribe_queryset().
    """

    groups: ClassVar[str | Sequence[str]] = ()
    fields: ClassVar[Sequence[str] | None] = None
    exclude: ClassVar[Sequence[str] | None] = None
    serializer: ClassVar[Callable[..., Any] | None] = None
    template_name: ClassVar[str | None] = None
    only: ClassVar[Sequence[str] | None] = None
    on: ClassVar[Sequence[Change]] = CHANGES
    min_interval: ClassVar[float] = 0
    name: ClassVar[str | None] = None
    live: ClassVar[bool] = False

    #: The publishers that register() has made of the class.
    registered: ClassVar[list["ModelPublisher"]] = []

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.registered = []

    def __init__(self, model: type[Model]) -> None:
        self.model = model

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} of {self.model._meta.label}>"

    def get_groups(self, instance: Model) -> str | Iterable[str] | None:
        """
        Return the group or groups that are told of *instance*; none, or None, to tell nobody.

        For an update it is asked twice, for the row as it was and as it is: those groups that
        the row has left are told that it is deleted. It must not do anything but look.
        """
        return self.groups

    def get_event(self, instance: Model, change: Change) -> str:
        """Return the event type: ``order.updated``, say."""
        return f"{self.event_prefix}.{change}"

    def get_data(self, instance: Model, change: Change) -> Any:
        """
        Return what is sent: a string as it is, or anything that the encoder writes as JSON.

        By default what ``fields``, ``exclude``, ``serializer`` or ``template_name`` say; for a
        row that is deleted, or that a group must not see any more, its primary key alone, as
        ``{"id": 7}``.
        """
        if change == "deleted":
            key = self.model._meta.pk
            return {key.name: getattr(instance, key.attname)}
        # From the class: as an attribute of the instance a function would become a method.
        serializer = type(self).serializer
        if serializer is not None:
            result = serializer(instance)
            return result.data if isinstance(serializer, type) else result
        if self.template_name is not None:
            name = str(self.model._meta.model_name)
            context = {"object": instance, name: instance, "change": change}
            return render_to_string(self.template_name, context)
        return {name: _value(instance, name) for name in self.field_names()}

    def should_publish(self, instance: Model, change: Change) -> bool:
        """Tell whether the change is told at all; it is, by default."""
        return True

    def field_names(self) -> list[str]:
        """Return the names of the fields that are sent."""
        if self.fields is not None and self.fields != "__all__":
            return list(self.fields)
        hidden = set(self.exclude or ())
        return [
            field.name
            for field in self.model._meta.concrete_fields
            if not {field.name, field.attname} & hidden
        ]

    @property
    def event_prefix(self) -> str:
        """What the event types begin with."""
        return self.name or str(self.model._meta.model_name)

    def groups_of(self, instance: Model) -> list[str]:
        """Return get_groups(), each once."""
        groups = self.get_groups(instance)
        return [groups] if isinstance(groups, str) else list(dict.fromkeys(groups or ()))

    def key_of(self, instance: Model) -> Any:
        """Return the primary key, in the table of the model that this is registered for."""
        # By getattr(): the key of a parent may be deferred, and is that of the row. And a key may
        # be given as a string.
        key = [
            field.to_python(getattr(instance, field.attname))
            for field in self.model._meta.pk_fields
        ]
        return key[0] if len(key) == 1 else tuple(key)

    @cached_property
    def only_attnames(self) -> frozenset[str] | None:
        """The columns of ``only``."""
        if self.only is None:
            return None
        fields = [self.model._meta.get_field(name) for name in self.only]
        return frozenset(field.attname for field in fields if field.concrete)

    def tell(self, instance: Model, change: Change, groups: Iterable[str] | None = None) -> None:
        """
        Publish *change* of *instance* now, if it is one to be told.

        An error is logged: it comes after the commit, and must not look like a failure of it.

        Args:
            instance: The row.
            change: What has happened to it.
            groups: Whom to tell, instead of those that get_groups() says.
        """
        with errors_logged("%r could not publish that row %r was %s.", self, instance.pk, change):
            if notice := self._notice(instance, change, groups):
                notice.publish()

    def notice(self, instance: Model, change: Change) -> Notice | None:
        """Return what tell() publishes; None for nothing. An error is logged."""
        with errors_logged("%r could not publish that row %r was %s.", self, instance.pk, change):
            return self._notice(instance, change, None)
        return None

    def _notice(
        self, instance: Model, change: Change, groups: Iterable[str] | None
    ) -> Notice | None:
        if change not in self.on or not self.should_publish(instance, change):
            return None
        told = self.groups_of(instance) if groups is None else list(groups)
        if not told:
            return None
        data, event = self.get_data(instance, change), self.get_event(instance, change)
        return Notice(told, data, event, self._key(instance, change, event))

    def _key(self, instance: Model, change: Change, event: str) -> str | None:
        # Of a slow page's unsent updates of a row the newest is enough. What tells of a row that
        # is new, or gone, stays beside it.
        if change not in ("updated", "m2m_changed"):
            return None
        own, model = type(self), self.model._meta.label
        row = f"{instance._state.db}:{model}:{instance.pk}"
        return f"{own.__module__}.{own.__qualname__}:{event}:{row}:{change}"

    @classmethod
    def publish(cls, queryset: QuerySet[Any], *, change: Change = "updated") -> None:
        """
        Tell of rows that were changed in ways of which Django sends no signal.

        That is ``update()``, ``bulk_create()``, ``bulk_update()`` and raw SQL. The rows are read
        after the commit, in pieces, so that a million takes no more memory than a few; *queryset*
        must still find them then. For ``"deleted"`` it is called before they are: what is told of
        them is made at once, and kept until the commit. What the rows were before an update is
        not known: who does not see them any more is not told, and ``only`` and ``min_interval``
        do not apply.

        Args:
            queryset: Rows of a model that this class is registered for.
            change: One of "created", "updated", "deleted" and "m2m_changed".

        Raises:
            TypeError: If *queryset* is none, or one of values() or values_list().
            ValueError: If *change* is none of these.
            LookupError: If this class is not registered for the queryset's model.
        """
        check_rows(queryset, f"{cls.__qualname__}.publish()")
        if change not in CHANGES:
            raise ValueError(f"change={change!r} is none of {', '.join(map(repr, CHANGES))}.")
        model = queryset.model
        publishers = [one for one in cls.registered if issubclass(model, one.model)]
        if not publishers:
            raise LookupError(
                f"{cls.__qualname__} is not registered for {model._meta.label}: decorate it with"
                f" @register({model.__name__})."
            )
        publish_rows(publishers, queryset, change)

    @classmethod
    async def apublish(cls, queryset: QuerySet[Any], *, change: Change = "updated") -> None:
        """See publish()."""
        await sync_to_async(cls.publish)(queryset, change=change)


def _value(instance: Model, name: str) -> Any:
    field = instance._meta.get_field(name)
    if field.many_to_many:
        return [related.pk for related in getattr(instance, field.name).all()]
    value = field.value_from_object(instance)  # type: ignore[union-attr]
    if isinstance(field, FileField):
        return value.url if value else None
    return value
