"""How data that is not a string becomes JSON."""

import dataclasses
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

__all__ = ["EventEncoder"]


class EventEncoder(DjangoJSONEncoder):
    """
    Django's JSON encoder, which also takes dataclasses and objects with ``model_dump()``.

    The default of the setting ``ENCODER``. Dates, times, UUIDs, decimals and lazy strings are
    written as Django writes them; what is in a pydantic model as pydantic does.
    """

    def default(self, o: Any) -> Any:
        """Return a form of *o* that JSON knows."""
        if dataclasses.is_dataclass(o) and not isinstance(o, type):
            return {field.name: getattr(o, field.name) for field in dataclasses.fields(o)}
        if callable(dump := getattr(o, "model_dump", None)) and not isinstance(o, type):
            try:
                return dump(mode="json")  # Pydantic's: with enums, sets and URLs in JSON's types.
            except TypeError:
                return dump()
        return super().default(o)
