"""The event that every server of a benchmark publishes, and the groups that it goes to."""

import json
import re
from typing import Any

__all__ = ["EVENT", "GROUP", "JSON_BYTES", "group_names", "make_event"]

#: Where all streams are that were not told another group.
GROUP = "ticks"


def group_names(count: int) -> list[str]:
    """Return the names of *count* groups: one is ``ticks``, more are ``g0`` and so on."""
    return [GROUP] if count == 1 else [f"g{number}" for number in range(count)]


def make_event(seq: int) -> dict[str, Any]:
    """Return the data of event number *seq*: about 200 bytes as JSON, the number first."""
    return {
        "seq": seq,
        "symbol": "ACME",
        "venue": "XNYS",
        "bid": 101.25 + seq % 100 / 100,
        "ask": 101.27 + seq % 100 / 100,
        "volume": 18_250 + seq,
        "currency": "EUR",
        "halted": False,
        "time": "2026-01-01T09:30:00.000Z",
        "note": "A price of the running session.",
    }


JSON_BYTES = len(json.dumps(make_event(1000)))

#: A whole event of make_event() on the wire, whoever has written it: any fields, any of the line
#: ends and JSON separators that the peers use. The group is the number.
EVENT = re.compile(rb'^data: ?\{"seq": ?(\d+),.*session\."\}\r?\n', re.MULTILINE)
