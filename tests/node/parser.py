"""npm's eventsource-parser, driven from Python."""

import base64
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from tests.npm import require_modules
from tests.services import require_node

__all__ = ["NodeParser", "Parsed"]

_FOLDER = Path(__file__).parent


class Parsed(NamedTuple):
    """What a parser has called back with, in order."""

    events: list[tuple[str | None, str, str | None]]  # Event type, data, id.
    retries: list[int]
    comments: list[str]


class NodeParser:
    """
    One Node.js process that parses stream after stream, each with a parser of its own.

    The test is skipped where Node.js or the npm package cannot be had.
    """

    def __enter__(self) -> Self:
        node = require_node()
        require_modules(_FOLDER)
        self._process = subprocess.Popen(
            [node, "parse.mjs"], cwd=_FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=60)

    def parse(self, chunks: Sequence[bytes]) -> Parsed:
        """Return what the parser makes of one stream that comes in *chunks*."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = json.dumps([base64.b64encode(chunk).decode() for chunk in chunks])
        self._process.stdin.write(request.encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["errors"] == []
        return Parsed(
            [tuple(event) for event in answer["events"]], answer["retries"], answer["comments"]
        )
