"""The attributes of ``<event-source>`` that a template may give, each with its rule."""

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

from django.utils.functional import Promise

from django_sse.conf import is_seconds

__all__ = ["check_attribute", "is_attribute", "suggest_attribute"]

_VERBS = (
    "innerHTML",
    "outerHTML",
    "beforebegin",
    "afterbegin",
    "beforeend",
    "afterend",
    "delete",
    "morph",
    "none",
)

_Rule = tuple[str, Callable[[Any], bool]]


def _one_of(*choices: str) -> _Rule:
    return f"one of {', '.join(choices)}", lambda value: value in choices


# The name of an event may have colons of its own: it ends at the one that a verb comes behind.
_SWAP_RULE = re.compile(rf"\S.*?\s*:\s*({'|'.join(_VERBS)})(\s+\S.*)?", re.DOTALL)


def _is_swap(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    rules = [rule.strip() for rule in value.split(";") if rule.strip()]
    return value.strip() in _VERBS or (bool(rules) and all(map(_SWAP_RULE.fullmatch, rules)))


def _are_names(value: Any) -> bool:
    return isinstance(value, str | list) and all(isinstance(name, str) for name in value)


def _is_true(value: Any) -> bool:
    return value is True


_ANYTHING: _Rule = ("text", lambda value: True)
_FLAG: _Rule = ("True or False", _is_true)
_RULES: dict[str, _Rule] = {
    "events": ("names of events, in a string or a list", _are_names),
    # What is empty is a variable that the template does not have.
    "target": ("a CSS selector", lambda value: isinstance(value, str) and bool(value.strip())),
    "swap": (
        f"one of {', '.join(_VERBS)}, or rules such as"
        " 'order.created: afterbegin #orders; order.deleted: delete #order-{id}'",
        _is_swap,
    ),
    "parse": _one_of("auto", "json", "text"),
    "reload_url": _ANYTHING,
    "shared": _FLAG,
    "transport": _one_of("eventsource", "fetch"),
    "pause_hidden": _FLAG,
    "poll": ("a number of seconds above 0", is_seconds),
    "with_credentials": _FLAG,
    "id": _ANYTHING,
    "class": _ANYTHING,
}
_PREFIXES = ("aria_", "data_")
_NOT_GIVEN = {
    "src": "the tag writes it, from the name of a URL or from groups=.",
    "renew_url": "the tag writes it, for groups=.",
    "renew_after": "the tag writes it, for groups=.",
    "state": "the element writes it, for CSS to read.",
    "style": "give the element a class, and style that.",
}


def is_attribute(name: str) -> bool:
    """Tell whether the keyword *name* of a tag is an attribute of the element."""
    return name in _RULES or name.startswith(_PREFIXES)


def check_attribute(name: str, value: Any) -> Any:
    """
    Return *value* as it is written into the attribute *name*; None where it has none.

    Raises:
        ValueError: If it breaks the attribute's rule.
    """
    rule, holds = _RULES.get(name, _ANYTHING)
    # What is only empty is a variable that the template does not have: no, as in {% if %}.
    if value is None or value is False or (holds is _is_true and not value):
        return None
    if isinstance(value, Promise):
        value = str(value)
    elif name == "events" and isinstance(value, Iterable) and not isinstance(value, str | bytes):
        value = list(value)
    if not holds(value):
        raise ValueError(f"{name}={value!r} must be {rule}.")
    return " ".join(value) if isinstance(value, list) and name == "events" else value


def suggest_attribute(name: str) -> str:
    """Return what *name*, which is no attribute, may have meant, or else what there is."""
    if name in _NOT_GIVEN:
        return _NOT_GIVEN[name]
    near = difflib.get_close_matches(name, _RULES, n=1)
    return f"did you mean {near[0]!r}?" if near else f"the attributes are {', '.join(_RULES)}."
