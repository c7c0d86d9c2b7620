"""What Django's signals tell of the rows of a model that publishes."""

import functools
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import django
from django.db.models import Model, signals
from django.db.models.fields.related import resolve_relation

from django_sse.model_publishing.changes import OpenRow, RowChange, open_row
from django_sse.model_publishing.errors import errors_logged
from django_sse.model_publishing.knowledge import known, remember
from django_sse.model_publishing.publishers import Change, ModelPublisher
from django_sse.model_publishing.reading import watch_reading
from django_sse.model_publishing.states import (
    State,
    columns,
    computed,
    given,
    is_expression,
    state_of,
)
from django_sse.model_publishing.suppression import is_suppressed
from django_sse.model_publishing.transactions import Write

__all__ = ["Receivers"]

_RAW = "django_sse_raw"

# From this version on save() reads what the database computes from the columns it has written.
_SAVE_READS_COMPUTED = django.VERSION >= (6, 0)


def _guarded(receiver: Callable[..., None]) -> Callable[..., None]:
    """Log what goes wrong in *receiver*: what Django does with the row goes on."""

    @functools.wraps(receiver)
    def guarded(self: "Receivers", **kwargs: Any) -> None:
        with errors_logged("What happens to a row of %s cannot be told.", self.label):
            receiver(self, **kwargs)

    return guarded


class Receivers:
    """
    The signal receivers of one model class, for all publishers that tell of its rows.

    They are connected as long as there is a publisher. Django sends the signals of a proxy, and
    of a model that inherits, for that class: each has receivers of its own.
    """

    def __init__(self, model: type[Model]) -> None:
        self._model = model
        self._columns = given(model)
        self._publishers: list[ModelPublisher] = []
        self._forget_reading: Callable[[], None] | None = None
        self.label = model._meta.label

    def add(self, publisher: ModelPublisher) -> None:
        """Tell *publisher* too."""
        if not self._publishers:
            for signal, receiver, sender in self._signals():
                signal.connect(receiver, sender=sender, weak=False, dispatch_uid=self)
            self._forget_reading = watch_reading(self._model)
        self._publishers.append(publisher)

    def remove(self, publisher: ModelPublisher) -> None:
        """Tell *publisher* no more."""
        self._publishers.remove(publisher)
        if not self._publishers:
            for signal, _, sender in self._signals():
                signal.disconnect(sender=sender, dispatch_uid=self)
            assert self._forget_reading is not None
            self._forget_reading()

    def _signals(self) -> Iterator[tuple[Any, Callable[..., None], Any]]:
        yield signals.post_save, self._on_save, self._model
        yield signals.pre_delete, self._before_delete, self._model
        for field in self._model._meta.many_to_many:
            through = field.remote_field.through
            assert through is not None
            # As its model is only being defined, it may be a name.
            sender = resolve_relation(self._model, through)
            yield signals.m2m_changed, self._on_relation, sender

    @_guarded
    def _on_save(
        self,
        instance: Model,
        created: bool,
        raw: bool,
        using: str,
        update_fields: Collection[str] | None,
        **kwargs: Any,
    ) -> None:
        if raw or hasattr(instance._state, _RAW):
            setattr(instance._state, _RAW, raw)
        names = None if update_fields is None else columns(self._model, update_fields)
        written, is_whole = self._written(instance, created, names)
        is_silent = raw or is_suppressed(self._model)
        change_of = functools.partial(
            RowChange,
            instance=instance,
            change="created" if created else "updated",
            is_whole=is_whole,
            is_silent=is_silent,
        )
        writes: list[Write] = []
        after: State = {}
        for publisher in self._publishers:
            row = open_row(publisher, instance, using)
            before = _state(row, instance)
            after = _after(before, names, written)
            if not is_silent or row.last():
                writes.append(change_of(row, before=None if created else before, after=after))
        for each in writes or [Write(using)]:  # Not above: without a transaction it is told now.
            each.enlist()
        remember(instance, after, using, each.fate)

    def _written(
        self, instance: Model, created: bool, names: Collection[str] | None
    ) -> tuple[State, bool]:
        """Return what is known of the columns *names*, None for all, and whether all of it is."""
        state, database = state_of(instance, names), computed(self._model)
        # An expression is there before Django 6.0, which reads it, or where it cannot, defers it.
        unread = {name for name, value in state.items() if is_expression(value)}
        if not (created or _SAVE_READS_COMPUTED):
            unread |= database
        if unread:
            state = {name: value for name, value in state.items() if name not in unread}
        given = self._columns if names is None else self._columns.intersection(names)
        return state, state.keys() >= given

    @_guarded
    def _before_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        self._hand_on(instance, using)
        table = self._model._meta.concrete_model
        # A parent's row has signals of its own; with keep_parents=True it stays.
        publishers = [one for one in self._publishers if one.model._meta.concrete_model is table]
        # Here, not after the commit: Django takes the key away, and what it refers to may go.
        self._enlist("deleted", instance, publishers, using, is_suppressed(self._model))

    def _hand_on(self, instance: Model, using: str) -> None:
        """Let its parents know as much: Django has made them of *instance*, saved or not."""
        if (found := known(instance, using)) is None:
            return
        table: Any = self._model._meta.concrete_model
        for parent, link in table._meta.parents.items():
            other = link and link.get_cached_value(instance, default=None)
            if other and known(other, using) is None:
                names = {field.attname for field in parent._meta.concrete_fields}
                state = {name: one for name, one in found.state.items() if name in names}
                remember(other, {**state_of(other, columns(parent, ())), **state}, using)

    @_guarded
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
        # Before: the groups may depend on the relations. Django sends it in a transaction of its
        # own, so that nothing is told before the change, nor of one that fails.
        is_raw = kwargs.get("raw", False) or getattr(instance._state, _RAW, False)
        is_silent = is_raw or is_suppressed(self._model) or pk_set == set()
        if is_silent or action.startswith("post"):
            return
        rows: Iterable[Model] = ()
        publishers = self._publishers
        if not reverse:
            rows = [instance] if type(instance) is self._model else []
        elif issubclass(self._model, model):
            # Those of a model that inherits are told by its own receivers.
            publishers = [one for one in publishers if one.model is self._model]
            rows = self._related(instance, sender, pk_set, using) if publishers else []
        for row in rows:
            self._enlist("m2m_changed", row, publishers, using)

    def _enlist(
        self,
        change: Change,
        instance: Model,
        publishers: Iterable[ModelPublisher],
        using: str,
        is_silent: bool = False,
    ) -> None:
        """Tell of a change that leaves the columns as they are."""
        for publisher in publishers:
            row = open_row(publisher, instance, using)
            state = _state(row, instance) or state_of(instance, columns(type(instance), ()))
            one = RowChange(row, instance, change, before=state, after=state, is_silent=is_silent)
            if not is_silent:
                one.ask_groups()
            if not is_silent or row.last():
                one.enlist()

    def _related(
        self, instance: Model, through: type[Model], pk_set: set[Any] | None, using: str
    ) -> Iterable[Model]:
        """Return the rows *pk_set*, or, if all are to be cleared, those related to *instance*."""
        manager = self._model._base_manager.using(using)
        if pk_set is not None:
            return manager.in_bulk(pk_set).values()
        [field] = [f for f in self._model._meta.many_to_many if f.remote_field.through is through]
        return manager.filter(**{field.name: instance})


def _state(row: OpenRow, instance: Model) -> State | None:
    """Return what is known of the row as it is now, in the open transaction."""
    last, found = row.last(), known(instance, row.using)
    if last is None:
        return None if found is None else found.state
    if not last.exists:
        return None
    # What was read since then was changed in a way of which there is no signal.
    is_newer = found is not None and found.since >= last.fate.number
    return {**last.after, **found.state} if found is not None and is_newer else last.after


def _after(state: State | None, names: Collection[str] | None, written: State) -> State:
    """Return the state after the columns *names*, None for all, were *written*."""
    if names is None or state is None:
        return written
    return {**{name: one for name, one in state.items() if name not in names}, **written}
