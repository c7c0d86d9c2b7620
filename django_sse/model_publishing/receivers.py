"""What Django's signals tell of the rows of a model that publishes."""

import functools
import logging
from collections.abc import Callable, Collection, Iterator
from typing import Any

from django.db import transaction
from django.db.models import Model, signals

from django_sse.metrics import metrics
from django_sse.model_publishing.changes import RowChange
from django_sse.model_publishing.publishers import ModelPublisher
from django_sse.model_publishing.states import as_of, loaded, remember, state_of
from django_sse.model_publishing.suppression import is_suppressed

__all__ = ["Receivers"]

logger = logging.getLogger("django.sse")


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

    def _signals(self) -> Iterator[tuple[Any, Callable[..., None], type[Model]]]:
        yield signals.post_init, self._on_init, self._model
        yield signals.pre_save, self._before_save, self._model
        yield signals.post_save, self._on_save, self._model
        yield signals.pre_delete, self._before_delete, self._model
        for field in self._model._meta.many_to_many:
            assert field.remote_field.through is not None
            yield signals.m2m_changed, self._on_relation, field.remote_field.through

    def _on_init(self, instance: Model, **kwargs: Any) -> None:
        remember(instance, state_of(instance))

    def _before_save(self, instance: Model, **kwargs: Any) -> None:
        if instance._state.adding:  # Not read from the database: what is there is not known.
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
        before, after = None if created else loaded(instance), state_of(instance)
        if update_fields is not None and before is not None:
            after = {**before, **state_of(instance, _columns(self._model, update_fields))}
        if raw or is_suppressed(self._model):
            transaction.on_commit(functools.partial(remember, instance, after), using=using)
            return
        for publisher in self._publishers:
            change = "created" if created else "updated"
            RowChange(publisher, instance, change, using, before=before, after=after).enlist()

    def _before_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        if is_suppressed(self._model):
            return
        # Here, not after the commit: Django takes the key away, and what it refers to may go too.
        state = {**state_of(instance), **(loaded(instance) or {})}
        row = as_of(instance, state)
        for publisher in self._publishers:
            RowChange(
                publisher,
                instance,
                "deleted",
                using,
                before=state,
                after=state,
                groups=_groups(publisher, row),
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
        if is_suppressed(self._model):
            return
        if not reverse:
            if type(instance) is self._model and action in _DONE and pk_set != set():
                self._tell_related([instance], self._publishers, using)
        elif issubclass(self._model, model):
            if action == "pre_clear":
                pk_set = self._related_to(instance, sender, using)
                setattr(instance._state, _CLEARED, pk_set)
            elif action == "post_clear":
                pk_set = getattr(instance._state, _CLEARED, None)
            if action in _DONE and pk_set:
                # Those of a model that inherits are told by its own receivers.
                own = [one for one in self._publishers if one.model is self._model]
                rows = self._model._base_manager.using(using).in_bulk(pk_set) if own else {}
                self._tell_related(list(rows.values()), own, using)

    def _related_to(self, instance: Model, through: type[Model], using: str) -> set[Any]:
        [field] = [f for f in self._model._meta.many_to_many if f.remote_field.through is through]
        rows = self._model._base_manager.using(using).filter(**{field.name: instance})
        return set(rows.values_list("pk", flat=True))

    def _tell_related(
        self, rows: Collection[Model], publishers: Collection[ModelPublisher], using: str
    ) -> None:
        for row in rows:
            state = loaded(row) or state_of(row)
            for publisher in publishers:
                RowChange(publisher, row, "m2m_changed", using, before=state, after=state).enlist()


_DONE = ("post_add", "post_remove", "post_clear")
_CLEARED = "django_sse_cleared"


def _groups(publisher: ModelPublisher, row: Model) -> Collection[str]:
    try:
        return publisher.groups_of(row)
    except Exception:  # The deletion must not fail of it.
        metrics.publish_errors += 1
        logger.exception("%r could not tell the groups of %r.", publisher, row)
        return ()


def _columns(model: type[Model], names: Collection[str]) -> set[str]:
    """Return the attnames of the fields *names*, and of the primary key."""
    fields = [field for field in model._meta.concrete_fields if field.name in names]
    return {field.attname for field in fields} | {model._meta.pk.attname}


def _watch_refresh(model: type[Model]) -> Callable[[], None]:
    """
    Note what refresh_from_db() reads, of which there is no signal; return how to stop that.

    Django reads deferred fields by it, too.
    """
    own, original = model.__dict__.get("refresh_from_db"), model.refresh_from_db

    @functools.wraps(original)
    def refresh_from_db(self: Model, using: Any = None, fields: Any = None, **kwargs: Any) -> None:
        original(self, using, fields, **kwargs)
        read = state_of(self, None if fields is None else _columns(model, fields))
        remember(self, {**(loaded(self) or {}), **read})

    model.refresh_from_db = refresh_from_db  # type: ignore[method-assign, assignment]

    def forget() -> None:
        if own is None:
            del model.refresh_from_db
        else:
            model.refresh_from_db = own  # type: ignore[method-assign]

    return forget
