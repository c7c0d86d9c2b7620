"""The streams of an audience whose clients read: an event costs each of them one send."""

import asyncio
import logging
from collections.abc import Iterator
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

from django_sse.batches import Batch

if TYPE_CHECKING:
    from django_sse.types import Send

__all__ = ["Reader", "Readers"]

logger = logging.getLogger("django.sse")


class Reader(Protocol):
    """A stream that has joined Readers."""

    def on_wait(self, steps: Iterator[Any], waits_for: Any, size: int) -> None:
        """Take over a send of *size* bytes that has taken its first step, and waits."""

    def on_send_error(self, error: BaseException) -> None:
        """Take note that a send has failed."""


class Readers:
    """
    Streams to which a batch is a write of its frames, and nothing else.

    What becomes of each of them by that is kept here, once for all: a stream adds the difference
    to its own counts when it leaves. Nearly all that a delivery costs beyond the server's send is
    to fetch what belongs to its stream from memory; so of the stream nothing is touched.

    Attributes:
        events_sent: How many events have been written to each.
        bytes_sent: How many bytes.
        last_write: When it was last, by the loop's time in seconds.
        id_line: The last id that was written.
    """

    __slots__ = ("_sends", "bytes_sent", "events_sent", "id_line", "last_write")

    def __init__(self) -> None:
        self._sends: dict[Reader, Send] = {}
        self.events_sent = 0
        self.bytes_sent = 0
        self.last_write = 0.0
        self.id_line = b""

    def __len__(self) -> int:
        return len(self._sends)

    def __contains__(self, member: object) -> bool:
        return member in self._sends

    def add(self, reader: Reader, send: "Send") -> None:
        """Write to *reader* by *send* from now on."""
        self._sends[reader] = send

    def discard(self, reader: Reader) -> None:
        """Write nothing more to *reader*."""
        self._sends.pop(reader, None)

    def write(self, batch: Batch, now: float) -> None:
        """Write *batch* to each. To be called inside ``Driver.run()``."""
        body, sends = batch.frames, self._sends
        self.events_sent += batch.count
        self.bytes_sent += len(body)
        self.last_write = now
        self.id_line = batch.id_line or self.id_line
        message = {"type": "http.response.body", "body": body, "more_body": True}
        is_changed = False
        failed: list[tuple[Reader, BaseException]] = []
        for reader, send in zip(tuple(sends), tuple(sends.values()), strict=True):
            if is_changed and reader not in sends:
                continue
            try:
                # A message for each: a wrapper around ``send`` may change it.
                sending = send(message.copy())
                if type(sending) is CoroutineType:  # As nearly all are: it needs no iterator.
                    waits_for = sending.send(None)
                    steps = sending.__await__()
                else:
                    steps = sending.__await__()
                    waits_for = next(steps)
            except StopIteration:
                continue
            except (Exception, asyncio.CancelledError) as error:
                failed.append((reader, error))
            else:
                reader.on_wait(steps, waits_for, len(body))
            is_changed = True
        # At last: their ends may have code of the project run, which is to find all written.
        for reader, failure in failed:
            try:
                reader.on_send_error(failure)
            except Exception:
                logger.exception("%r could not be ended.", reader)
