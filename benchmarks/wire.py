"""What the load client knows of HTTP and of the wire form of events."""

import re

__all__ = ["Span", "check_head", "data_lines", "dechunk", "has_only_ids", "runs_of"]

#: Events whose numbers follow each other: the first, and how many.
Span = tuple[int, int]

# The length of a chunk, if there is one, and the fields of an event before its data.
_BEFORE_DATA = re.compile(rb"(?:([0-9a-fA-F]+)\r\n)?(?:(?:id|event|retry):[^\r\n]*\r?\n)*")


def check_head(head: bytes) -> bool:
    """
    Return whether the body behind *head* is chunked; if not, it is all that comes until the end.

    Raises:
        RuntimeError: If the answer is no event stream.
    """
    status, *lines = head.lower().split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines)
    is_stream = headers.get(b"content-type", b"").startswith(b"text/event-stream")
    is_plain = headers.get(b"content-encoding", b"identity") == b"identity"
    has_no_end = b"content-length" not in headers
    if not (status.startswith(b"http/1.1 200") and is_stream and is_plain and has_no_end):
        raise RuntimeError(f"This is not the start of an event stream: {head!r}")
    return headers.get(b"transfer-encoding") == b"chunked"


def runs_of(seqs: list[int]) -> list[Span]:
    """Return *seqs* as runs of numbers that follow each other."""
    runs, start = [], 0
    for end in range(1, len(seqs) + 1):
        if end == len(seqs) or seqs[end] != seqs[end - 1] + 1:
            runs.append((seqs[start], end - start))
            start = end
    return runs


def dechunk(data: bytes) -> tuple[bytes, bytes]:
    """Return what the whole chunks of *data* hold, and what is left of it."""
    pieces, position = [], 0
    while (end := data.find(b"\r\n", position)) >= 0:
        stop = end + 2 + int(data[position:end], 16)
        if len(data) < stop + 2:
            break
        pieces.append(data[end + 2 : stop])
        position = stop + 2
    return b"".join(pieces), data[position:]


def data_lines(data: bytes) -> bytes:
    """
    Return what *data* has in common with what differs from it in ids only.

    Of one event that is all from its data on. Of several in one chunk, each with an id, it is
    every third line, whatever the others are: has_only_ids() looks at those.
    """
    start = data.find(b"data:")
    if data.find(b"data:", start + 5) < 0:
        return data[start:]
    return b"\n".join(data.split(b"\n")[2::3])


def has_only_ids(data: bytes, is_chunked: bool) -> bool:
    """Return whether there is nothing but ids and the like beside data_lines()."""
    start = data.find(b"data:")
    fields = _BEFORE_DATA.fullmatch(data, 0, start)
    if fields is None or start < 0 or (fields[1] is not None) != is_chunked:
        return False
    if is_chunked and int(fields[1], 16) != len(data) - len(fields[1]) - 4:
        return False
    if data.find(b"data:", start + 5) < 0:
        return True
    lines = data.split(b"\n")
    return (
        is_chunked
        and set(lines[3::3]) == {b""}
        and all(line.startswith(b"id:") for line in lines[1:-3:3])
    )
