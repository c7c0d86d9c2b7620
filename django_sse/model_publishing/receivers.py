"""What Django's signals tell of the rows of a model that publishes."""

import functools
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from django.db import transaction
from django.db.models import Model, signals
from django.db.models.fields.related import resolve_relation

from django_sse.model_publishing.changes import RowChange, open_row
from django_sse.model_publishing.errors import errors_logged
from django_sse.model_publishing.publishers import ModelPublisher
from django_sse.model_publishing.states import (
    State,
    as_of,
    columns,
    loaded,
    remember,
    state_of,
)
from django_sse.model_publishing.suppression import is_suppressed

__all__ = ["Receivers"]

_RAW = "django_sse_raw"
_RELATING = "django_sse_relating"


class Receivers:
    """
    The signal receivers of one model class, for all publishers that tell of its rows.

    They are connected as long as there is a publisher. Django sends the signals of a proxy, and
    of a model that inherits, for that class: each has receivers of its own.
    """

    def __init__(self, model: type[Model]) -> None:
        self._model = model
        self._publishers: list[ModelPublisher] = []
        self._forget_refresh: Callable[[], None] | None = None

    def add(self, publisher: ModelPublisher) -> None:
        """Tell *publisher* too."""
        if not self._publishers:
            for signal, receiver, sender in self._signals():
                signal.connect(receiver, sender=sender, weak=False, dispatch_uid=self)
            self._forget_refresh = _watch_refresh(self._model)
        self._publishers.append(publisher)

    def remove(self, publisher: ModelPublisher) -> None:
        """Tell *publisher* no more."""
        self._publishers.remove(publisher)
        if not self._publishers:
            for signal, _, sender in self._signals():
                signal.disconnect(sender=sender, dispatch_uid=self)
            assert self._forget_refresh is not None
            self._forget_refresh()

    def _signals(self) -> Iterator[tuple[Any, Callable[..., None], Any]]:
        yield signals.post_init, self._on_init, self._model
        yield signals.pre_save, self._before_save, self._model
        yield signals.post_save, self._on_save, self._model
        yield signals.pre_delete, self._before_delete, self._model
        for field in self._model._meta.many_to_many:
            through = field.remote_field.through
            assert through is not None
            # As its model is only being defined, it may be a name.
            sender = resolve_relation(self._model, through)
            yield signals.m2m_changed, self._on_relation, sender

    def _on_init(self, instance: Model, **kwargs: Any) -> None:
        if instance.pk is not None:
            remember(instance, state_of(instance))

    def _before_save(self, instance: Model, using: str, **kwargs: Any) -> None:
        # What was not read from this database is not known to be there.
        if instance._state.adding or instance._state.db != using:
            remember(instance, None)

    def _on_save(
        self,
        instance: Model,
        created: bool,
        raw: bool,
        using: str,
        update_fields: Collection[str] | None,
        **kwargs: Any,
    ) -> None:
        names = None if update_fields is None else columns(self._model, update_fields)
        written = state_of(instance, names)
        if raw or is_suppressed(self._model):
            setattr(instance._state, _RAW, raw)
            after = _after(loaded(instance), names, written)
            with errors_logged("%r cannot know when the transaction ends.", self._model):
                transaction.on_commit(functools.partial(remember, instance, after), using=using)
            return
        changes = []
        for publisher in self._publishers:
            known = _known(publisher, instance, using)
            before, after = None if created else known, _after(known, names, written)
            change = "created" if created else "updated"
            changes.append(
                RowChange(publisher, instance, change, using, before=before, after=after)
            )
        for each in changes:  # Not above: outside of a transaction it is told, and known, at once.
            each.enlist()

    def _before_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        if is_suppressed(self._model):
            return
        for publisher in self._publishers:
            # Here, not after the commit: Django takes the key away, and what it refers to may go.
            state, groups = _before(publisher, instance, using)
            RowChange(
                publisher, instance, "deleted", using, before=state, after=state, groups=groups
            ).enlist()

    def _on_relation(
        self,
        instance: Model,
        action: str,
        reverse: bool,
        model: type[Model],
        pk_set: set[Any] | None,
        using: str,
        sender: type[Model],
        **kwargs: Any,
    ) -> None:
        is_raw = kwargs.get("raw", False) or getattr(instance._state, _RAW, False)
        if is_raw or is_suppressed(self._model) or pk_set == set():
            return
        if action.startswith("post"):
            for change in _relating(instance).pop((self._model, sender), ()):
                change.enlist()
            return
        rows: Iterable[Model] = ()
        publishers = self._publishers
        if not reverse:
            rows = [instance] if type(instance) is self._model else []
        elif issubclass(self._model, model):
            # Those of a model that inherits are told by its own receivers.
            publishers = [one for one in publishers if one.model is self._model]
            rows = self._related(instance, sender, pk_set, using) if publishers else []
        _relating(instance)[self._model, sender] = [
            _relation_change(publisher, row, using) for row in rows for publisher in publishers
        ]

    def _related(
        self, instance: Model, through: type[Model], pk_set: set[Any] | None, using: str
    ) -> Iterable[Model]:
        """Return the rows *pk_set*, or, if all are to be cleared, those related to *instance*."""
        manager = self._model._base_manager.using(using)
        if pk_set is not None:
            return manager.in_bulk(pk_set).values()
        [field] = [f for f in self._model._meta.many_to_many if f.remote_field.through is through]
        return manager.filter(**{field.name: instance})


def _known(publisher: ModelPublisher, instance: Model, using: str) -> State | None:
    """Return what is known of the row as it is now, in the open transaction."""
    row = open_row(publisher, publisher.key_of(instance.__dict__), using)
    last = None if row is None else row.last()
    return loaded(instance) if last is None else last.after if last.exists else None


def _before(
    publisher: ModelPublisher, instance: Model, using: str
) -> tuple[State, Collection[str]]:
    """Return the row's state now, and the groups that could see it before the transaction."""
    state = _known(publisher, instance, using)
    if state is None:
        state = state_of(instance, columns(type(instance), ()))
        if not instance._state.adding:
            state = state_of(instance)
    row = open_row(publisher, publisher.key_of(state), using)
    first = None if row is None else row.first()
    origin = state if first is None or first.before is None else first.before
    groups: Collection[str] = ()
    with errors_logged("%r could not tell the groups of %r.", publisher, instance.pk):
        groups = publisher.groups_of(as_of(instance, origin))
    return state, groups


def _after(known: State | None, names: Collection[str] | None, written: State) -> State:
    """Return the state after the columns *names*, None for all, were *written*."""
    if names is None or known is None:
        return written
    kept = {name: value for name, value in known.items() if name not in names}
    return {**kept, **written}


def _relating(instance: Model) -> dict[Any, list[RowChange]]:
    """Return what is about to be told of relations of *instance*, by model and relation."""
    changes: dict[Any, list[RowChange]] = instance._state.__dict__.setdefault(_RELATING, {})
    return changes


def _relation_change(publisher: ModelPublisher, row: Model, using: str) -> RowChange:
    state, groups = _before(publisher, row, using)
    return RowChange(
        publisher, row, "m2m_changed", using, before=state, after=state, groups=groups
    )


def _watch_refresh(model: type[Model]) -> Callable[[], None]:
    """
    Note what refresh_from_db() reads, of which there is no signal; return how to stop that.

    Django reads deferred fields by it, too.
    """
    own, original = model.__dict__.get("refresh_from_db"), model.refresh_from_db

    @functools.wraps(original)
    def refresh_from_db(self: Model, using: Any = None, fields: Any = None, **kwargs: Any) -> None:
        original(self, using, fields, **kwargs)
        read = state_of(self, None if fields is None else columns(model, fields))
        remember(self, {**(loaded(self) or {}), **read})

    model.refresh_from_db = refresh_from_db  # type: ignore[method-assign, assignment]

    def forget() -> None:
        if own is None:
            del model.refresh_from_db
        else:
            model.refresh_from_db = own  # type: ignore[method-assign]

    return forget
