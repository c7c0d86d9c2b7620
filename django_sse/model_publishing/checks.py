"""What is wrong with a publisher, as far as that can be seen before it tells anything."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model

from django_sse.exceptions import InvalidEvent, InvalidGroup
from django_sse.framing import check_field
from django_sse.groups import check_names
from django_sse.model_publishing.publishers import CHANGES, ModelPublisher

__all__ = ["check_publishers"]

_FORMS = ("fields", "exclude", "serializer", "template_name")


def check_publishers(publishers: Sequence[ModelPublisher]) -> list[CheckMessage]:
    """Return what is wrong with each of *publishers*, and between them."""
    found: list[CheckMessage] = []
    for publisher in publishers:
        for check in _CHECKS:
            found += check(publisher)
    return [*found, *_check_names(publishers)]


def _check_fields(publisher: ModelPublisher) -> Iterator[CheckMessage]:
    model = publisher.model
    for option in ("fields", "exclude", "only"):
        names = getattr(publisher, option)
        if names is None or (option == "fields" and names == "__all__"):
            continue
        if isinstance(names, str) or not isinstance(names, Iterable):
            yield Error(
                f"{publisher!r} has {option} = {names!r}, which is no list.",
                hint=f"Write a list of names of fields: {option} = ['id'].",
                obj=type(publisher),
                id="django_sse.E010",
            )
            continue
        columns = [field.name for field in model._meta.concrete_fields]
        related = [field.name for field in model._meta.many_to_many if option == "fields"]
        for name in names:
            if not _is_field(model, name, related):
                yield Error(
                    f"{publisher!r} names {name!r} in {option}, which is no field of the model"
                    " that has a value to send or to compare.",
                    hint=f"There are: {', '.join([*columns, *related])}.",
                    obj=type(publisher),
                    id="django_sse.E010",
                )


def _is_field(model: type[Model], name: Any, related: Iterable[str]) -> bool:
    try:
        field = model._meta.get_field(name)
    except (FieldDoesNotExist, TypeError):
        return False
    return field in model._meta.concrete_fields or name in related


def _check_groups(publisher: ModelPublisher) -> Iterator[CheckMessage]:
    if not (publisher.live or publisher.groups or _overrides(publisher, "get_groups")):
        yield Error(
            f"{publisher!r} has no groups: it tells nobody.",
            hint="Set groups, or write get_groups(self, instance). For live querysets alone, set"
            " live = True.",
            obj=type(publisher),
            id="django_sse.E011",
        )
        return
    try:
        check_names(publisher.groups or ())
    except InvalidGroup as error:
        yield Error(
            f"{publisher!r} has groups = {publisher.groups!r}: {error}",
            hint="Set groups to a name, or to a list of names.",
            obj=type(publisher),
            id="django_sse.E011",
        )


def _check_form(publisher: ModelPublisher) -> Iterator[CheckMessage]:
    serializer: object = type(publisher).serializer
    if not (serializer is None or callable(serializer)):
        yield Error(
            f"{publisher!r} has serializer = {serializer!r}, which cannot be called.",
            hint="Set it to a function of the instance, or to a serializer class.",
            obj=type(publisher),
            id="django_sse.E012",
        )
    given = [name for name in _FORMS if getattr(type(publisher), name) is not None]
    if len(given) > 1:
        yield Error(
            f"{publisher!r} says more than once what is sent: {', '.join(given)}.",
            hint="Keep one of them.",
            obj=type(publisher),
            id="django_sse.E012",
        )
    elif not given and not _overrides(publisher, "get_data"):
        yield Error(
            f"{publisher!r} does not say what is sent.",
            hint="Set fields, exclude, serializer or template_name, or write get_data(self,"
            ' instance, change); fields = "__all__" sends every column.',
            obj=type(publisher),
            id="django_sse.E012",
        )


def _check_on(publisher: ModelPublisher) -> Iterator[CheckMessage]:
    given: object = publisher.on
    if isinstance(given, str) or not isinstance(given, Iterable):
        problem = "which is no list"
    elif unknown := [repr(one) for one in given if one not in CHANGES]:
        problem = f"and there is no change {', '.join(unknown)}"
    else:
        return
    yield Error(
        f"{publisher!r} has on = {given!r}, {problem}.",
        hint=f"Write a list of some of {', '.join(map(repr, CHANGES))}.",
        obj=type(publisher),
        id="django_sse.E013",
    )


def _check_interval(publisher: ModelPublisher) -> Iterator[CheckMessage]:
    given: object = publisher.min_interval
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if not is_number or not 0 <= given < float("inf"):  # type: ignore[operator]
        yield Error(
            f"{publisher!r} has min_interval = {given!r}; it must be a number of seconds, 0 or"
            " more.",
            hint="0 tells every update.",
            obj=type(publisher),
            id="django_sse.E014",
        )


def _check_name(publisher: ModelPublisher) -> Iterator[CheckMessage]:
    name: object = publisher.name
    if name is None:
        return
    try:
        check_field("event", name)
    except InvalidEvent as error:
        yield Error(
            f"{publisher!r} has name = {name!r}, with which event types begin: {error}",
            hint="Set name to one line of text, or leave it out for the model's name.",
            obj=type(publisher),
            id="django_sse.E015",
        )


_CHECKS = (_check_fields, _check_groups, _check_form, _check_on, _check_interval, _check_name)


def _check_names(publishers: Sequence[ModelPublisher]) -> Iterator[CheckMessage]:
    first: dict[str, ModelPublisher] = {}
    for publisher in publishers:
        if _overrides(publisher, "get_event"):
            continue
        other = first.setdefault(publisher.event_prefix, publisher)
        if other.model is not publisher.model:
            yield Warning(
                f"{publisher!r} and {other!r} publish events of the same types,"
                f" {publisher.event_prefix}.updated and so on: a page cannot tell them apart.",
                hint="Give one of them a name of its own: name = "
                f'"{publisher.model._meta.app_label}.{publisher.model._meta.model_name}".',
                obj=type(publisher),
                id="django_sse.W010",
            )


def _overrides(publisher: ModelPublisher, method: str) -> bool:
    return getattr(type(publisher), method) is not getattr(ModelPublisher, method)
