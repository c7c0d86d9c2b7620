"""What an instance knows of its row: what was read or written last, unless that is undone."""

from typing import Any

from django.db.models import Model

from django_sse.model_publishing.states import State
from django_sse.model_publishing.transactions import Fate, latest

__all__ = ["Known", "known", "remember", "remember_some"]

_ATTRIBUTE = "django_sse_known"


class Known:
    """
    A state of a row.

    Attributes:
        state: Its values.
        using: The alias of the database that has it.
        fate: What becomes of it: that of the last write before it was known, if one was open.
        since: The number of that write, when all of the state was known; 0 if none was open.
        earlier: What is known if that write is undone.
    """

    __slots__ = ("earlier", "fate", "since", "state", "using")

    def __init__(
        self,
        state: State,
        using: str,
        fate: Fate | None = None,
        since: int = 0,
        earlier: "Known | None" = None,
    ) -> None:
        self.state, self.using, self.fate = state, using, fate
        self.since, self.earlier = since, earlier

    def _is_firm(self) -> bool:
        return self.fate is None or self.fate.is_committed

    def standing(self) -> "Known | None":
        """Return this, or what is known instead if it is undone."""
        if self.fate is None or not self.fate.is_lost:
            return self
        return None if self.earlier is None else self.earlier.standing()

    def base(self) -> "Known | None":
        """Return what is known if what the open transaction has done is undone."""
        if self._is_firm():
            self.fate = self.earlier = None  # No chain of all there ever was.
        return self if self.earlier is None else self.earlier

    def __deepcopy__(self, memo: Any) -> "Known":
        return self

    def __reduce__(self) -> Any:
        # In another process there is no transaction that may yet be undone.
        base = self.base()
        is_firm = base is not None and base._is_firm()
        return Known, (base.state, base.using) if is_firm and base is not None else ({}, "")


def remember(instance: Model, state: State, using: str, fate: Fate | None = None) -> None:
    """Note that *state* was read, or written by what has the *fate*."""
    fate = fate or latest(using)
    found: Known | None = instance._state.__dict__.get(_ATTRIBUTE)
    if fate is None or fate.is_committed:
        new = Known(state, using)
    else:
        earlier = None if found is None else found.base()
        new = Known(state, using, fate, fate.number, earlier)
    setattr(instance._state, _ATTRIBUTE, new)


def remember_some(instance: Model, read: State, using: str) -> None:
    """Note what was *read* of some columns; the others are known as before."""
    found = known(instance, using)
    fate = latest(using)
    if found is None:
        remember(instance, read, using, fate)
    else:
        state, earlier = {**found.state, **read}, None if fate is None else found.base()
        setattr(instance._state, _ATTRIBUTE, Known(state, using, fate, found.since, earlier))


def known(instance: Model, using: str) -> Known | None:
    """Return what is known of the row that *instance* would be saved to."""
    found: Known | None = instance._state.__dict__.get(_ATTRIBUTE)
    if found is not None:
        found = found.standing()
    if found is None or found.using != using:
        return None
    values, state = instance.__dict__, found.state
    for field in instance._meta.pk_fields:
        name = field.attname
        if name not in state or values.get(name) != state[name]:
            return None
    return found
