"""The event that every server of a benchmark publishes."""

import json
import re
from typing import Any

__all__ = ["EVENT", "JSON_BYTES", "make_event"]


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
EVENT = re.compile(rb'^data: \{"seq": ?(\d+),[^\r\n]*session\."\}\r?\n', re.MULTILINE)
