"""One event: its fields, its rules and its bytes, held against two independent parsers."""

import copy
import dataclasses
import datetime
import decimal
import itertools
import json
import math
import pickle
import re
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import httpx_sse
import pydantic
import pytest
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from hypothesis import example, given
from hypothesis import strategies as st

from django_sse import ServerSentEvent
from django_sse.exceptions import InvalidEvent
from tests.node.parser import NodeParser, Parsed


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Reading(pydantic.BaseModel):
    celsius: decimal.Decimal


class PlainEncoder(json.JSONEncoder):
    """Named by its path in the setting ENCODER."""

    def default(self, o: Any) -> Any:
        return f"plain {type(o).__name__}"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("hi", b"data: hi\n\n"),
        ("", b"data: \n\n"),
        (" hi", b"data:  hi\n\n"),
        ("a\r\nb\rc\nd", b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        ("a\u2028b\vc\x85d", b"data: a\xe2\x80\xa8b\x0bc\xc2\x85d\n\n"),
        ('{"a": 1}', b'data: {"a": 1}\n\n'),
        (mark_safe("<b>"), b"data: <b>\n\n"),
    ],
    ids=ascii,
)
def test_encode_writes_a_string_as_it_is(data: str, expected: bytes) -> None:
    """A string is never JSON, not even one that looks like it; only its lines are kept apart."""
    assert ServerSentEvent(data).encode() == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"a": [1, None, True]}, b'data: {"a":[1,null,true]}\n\n'),
        ([], b"data: []\n\n"),
        ({}, b"data: {}\n\n"),
        (0, b"data: 0\n\n"),
        (False, b"data: false\n\n"),
        ({"a": "x\ny"}, b'data: {"a":"x\\ny"}\n\n'),
        (["é\u2028"], b'data: ["\xc3\xa9\xe2\x80\xa8"]\n\n'),
        (lazystr("hi"), b'data: "hi"\n\n'),
        (decimal.Decimal("1.10"), b'data: "1.10"\n\n'),
        (uuid.UUID(int=7), b'data: "00000000-0000-0000-0000-000000000007"\n\n'),
        (datetime.date(2026, 1, 2), b'data: "2026-01-02"\n\n'),
        (Point(1, 2), b'data: {"x":1,"y":2}\n\n'),
        (Reading(celsius=decimal.Decimal(20)), b'data: {"celsius":"20"}\n\n'),
    ],
    ids=repr,
)
def test_encode_writes_anything_else_as_json(data: object, expected: bytes) -> None:
    """Compact JSON, on one line, and in UTF-8: nothing that can be read is escaped."""
    assert ServerSentEvent(data).encode() == expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (ServerSentEvent(), b"\n"),
        (ServerSentEvent(event="ping"), b"event: ping\n\n"),
        (ServerSentEvent(id="7"), b"id: 7\n\n"),
        (ServerSentEvent(id=""), b"id: \n\n"),
        (ServerSentEvent(retry=0), b"retry: 0\n\n"),
        (ServerSentEvent(comment="a\nb"), b": a\n: b\n\n"),
        (
            ServerSentEvent("a\nb", event="e", id="1", retry=2, comment="c"),
            b": c\nevent: e\nid: 1\nretry: 2\ndata: a\ndata: b\n\n",
        ),
    ],
    ids=repr,
)
def test_encode_writes_the_fields_that_are_given(event: ServerSentEvent, expected: bytes) -> None:
    """A field that is None is not on the wire, one that is empty is."""
    assert event.encode() == expected


@pytest.mark.parametrize("field", ["event", "id"])
@pytest.mark.parametrize("forbidden", ["\r", "\n", "\r\n", "\0"], ids=ascii)
def test_event_with_a_line_end_in_a_field_raises(field: str, forbidden: str) -> None:
    """A user's input in event or id cannot write fields of its own."""
    with pytest.raises(InvalidEvent, match=rf"^{field}='x.*CR, LF and NUL cannot stand in"):
        ServerSentEvent("a", **{field: f"x{forbidden}data: forged"})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["event", "id"])
def test_event_with_a_field_that_is_no_string_raises(field: str) -> None:
    """A primary key has to be made a string: the error says which field it was."""
    with pytest.raises(InvalidEvent, match=rf"^{field}=7 is a int; it must be a string\.$"):
        ServerSentEvent("a", **{field: 7})  # type: ignore[arg-type]


@pytest.mark.parametrize("retry", [-1, True, 1.5, "3000"])
def test_event_with_a_retry_that_is_no_number_raises(retry: Any) -> None:
    """A browser would ignore it silently."""
    with pytest.raises(InvalidEvent, match=rf"^retry={retry!r} must be a whole number"):
        ServerSentEvent(retry=retry)


def test_event_with_a_comment_that_is_no_string_raises() -> None:
    """The message names the value."""
    with pytest.raises(InvalidEvent, match=r"^comment=b'a' must be a string\.$"):
        ServerSentEvent(comment=b"a")  # type: ignore[arg-type]


def test_event_takes_its_options_by_keyword_only() -> None:
    """ServerSentEvent("a", "b") does not say which of them is what."""
    with pytest.raises(TypeError):
        ServerSentEvent("a", "b")  # type: ignore[call-arg]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_text_refuses_numbers_that_json_lacks(number: float) -> None:
    """JSON.parse() would fail on every page that reads them."""
    with pytest.raises(InvalidEvent, match="Data of type dict cannot be written as JSON"):
        ServerSentEvent({"load": number}).text()


@pytest.mark.parametrize("data", [object(), {1, 2}, b"bytes", {(1, 2): 3}, Point, 1j], ids=repr)
def test_text_refuses_what_is_not_json(data: object) -> None:
    """The message names the type, what the encoder said, and the setting."""
    with pytest.raises(InvalidEvent) as caught:
        ServerSentEvent(data).text()
    message = str(caught.value)
    assert message.startswith(f"Data of type {type(data).__name__} cannot be written as JSON (")
    assert message.endswith("or name an encoder in DJANGO_SSE['ENCODER'].")
    assert isinstance(caught.value.__cause__, TypeError)


def test_text_refuses_data_that_holds_itself() -> None:
    """A cycle is an error, not an endless loop."""
    data: list[Any] = []
    data.append(data)
    with pytest.raises(InvalidEvent, match="Circular reference"):
        ServerSentEvent(data).text()


def test_text_refuses_data_that_is_too_deep() -> None:
    """Running out of stack is the data's fault, not the server's."""
    data: list[Any] = []
    for _ in range(100_000):
        data = [data]
    try:
        with pytest.raises(InvalidEvent, match="Data of type list cannot be written"):
            ServerSentEvent(data).text()
    finally:
        while data:  # Freed level by level: the interpreter's own way may recurse.
            data = data.pop()


@pytest.mark.parametrize("data", ["a\ud800", {"a": "\udfff"}])
def test_encode_refuses_lone_surrogates(data: object) -> None:
    """No UTF-8 can carry them, in a string or in JSON."""
    with pytest.raises(InvalidEvent, match="cannot be written as UTF-8"):
        ServerSentEvent(data).encode()


def test_text_uses_the_encoder_of_the_settings(settings: Any) -> None:
    """ENCODER may be a path or a class."""
    for encoder in ("tests.test_events.PlainEncoder", PlainEncoder):
        settings.DJANGO_SSE = {"ENCODER": encoder}
        assert ServerSentEvent(1j).text() == '"plain complex"'


def test_text_of_no_data_is_none() -> None:
    """No data is not empty data: a browser dispatches nothing."""
    assert ServerSentEvent(event="a").text() is None
    assert ServerSentEvent("").text() == ""


def test_encode_keeps_its_bytes() -> None:
    """What is sent is what the data was when it was first encoded."""
    data = {"a": 1}
    event = ServerSentEvent(data)
    first = event.encode()
    data["a"] = 2
    assert event.encode() is first


def test_event_is_frozen() -> None:
    """An event that was checked cannot be made a wrong one."""
    event = ServerSentEvent("a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.event = "a\nb"  # type: ignore[misc]


def test_events_are_equal_by_their_fields() -> None:
    """Whether one of them was encoded does not count."""
    one, other = ServerSentEvent("a", id="1"), ServerSentEvent("a", id="1")
    one.encode()
    assert one == other
    assert hash(one) == hash(other)
    assert one != ServerSentEvent("a", id="2")
    assert repr(one) == ("ServerSentEvent(data='a', event=None, id='1', retry=None, comment=None)")


def test_event_can_be_replaced_copied_and_pickled() -> None:
    """A replaced one is checked and encoded anew; copies are equal."""
    event = ServerSentEvent({"a": 1}, event="one")
    event.encode()
    assert dataclasses.replace(event, event="two").encode() == b'event: two\ndata: {"a":1}\n\n'
    with pytest.raises(InvalidEvent):
        dataclasses.replace(event, event="t\nwo")
    assert copy.deepcopy(event) == event
    assert pickle.loads(pickle.dumps(event)) == event


# Every character but surrogates, the troublesome ones more often than chance would have them.
text = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("\r\n\0 :\ufeff\u2028\x85\v\x1e"))
)
line = text.map(lambda value: re.sub("[\r\n\0]", "", value))
json_data = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=8,
).filter(lambda value: not isinstance(value, str))
events = st.builds(
    ServerSentEvent,
    data=st.none() | text | json_data,
    event=st.none() | line,
    id=st.none() | line,
    retry=st.none() | st.integers(0, 2**53 - 1),
    comment=st.none() | text,
)


def as_lines(value: str) -> str:
    """Return *value* as a reader has it: the wire keeps that a line ends, not how."""
    return re.sub("\r\n|\r", "\n", value)


def expected_of_httpx(sent: list[ServerSentEvent]) -> Iterator[tuple[str, str, str, int | None]]:
    """Yield what httpx-sse makes of them; it keeps the id, and yields frames with no data too."""
    last_id = ""
    for event in sent:
        last_id = last_id if event.id is None else event.id
        written = event.text()
        if event.event or written is not None or last_id or event.retry is not None:
            yield event.event or "message", as_lines(written or ""), last_id, event.retry


def read_by_httpx(body: bytes, cuts: list[int]) -> Iterator[tuple[str, str, str, int | None]]:
    response = httpx.Response(
        200, headers={"Content-Type": "text/event-stream"}, content=iter(pieces(body, cuts))
    )
    for event in httpx_sse.EventSource(response).iter_sse():
        yield event.event, event.data, event.id, event.retry


def pieces(body: bytes, cuts: list[int]) -> list[bytes]:
    """Return *body* in pieces, as a network may deliver it."""
    edges = [0, *sorted({cut % (len(body) + 1) for cut in cuts}), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]


def expected_of_node(sent: list[ServerSentEvent]) -> Parsed:
    """Return what eventsource-parser makes of them: as a browser, but the id stays the event's."""
    parsed = Parsed([], [], [])
    for event in sent:
        written = event.text()
        if written is not None:
            parsed.events.append((event.event or None, as_lines(written), event.id))
        if event.retry is not None:
            parsed.retries.append(event.retry)
        if event.comment is not None:
            parsed.comments.extend(as_lines(event.comment).split("\n"))
    return parsed


@given(sent=st.lists(events, max_size=6), cuts=st.lists(st.integers(0, 2000), max_size=4))
@example(sent=[ServerSentEvent("\r", id="1"), ServerSentEvent("\n\r\n")], cuts=[])
@example(sent=[ServerSentEvent("", event=":", id=" ")], cuts=[3])
@example(sent=[ServerSentEvent(" :\ufeff", comment="\n")], cuts=[])
def test_encode_is_read_by_httpx_sse(sent: list[ServerSentEvent], cuts: list[int]) -> None:
    """Whatever the fields, httpx-sse reads them as they were sent."""
    body = b"".join(event.encode() for event in sent)
    assert list(read_by_httpx(body, cuts)) == list(expected_of_httpx(sent))


@pytest.fixture(scope="module")
def node() -> Iterator[NodeParser]:
    """npm's eventsource-parser, in one process for all cases."""
    with NodeParser() as parser:
        yield parser


@pytest.mark.node
@given(sent=st.lists(events, max_size=6), cuts=st.lists(st.integers(0, 2000), max_size=4))
@example(sent=[ServerSentEvent("\r", id="1"), ServerSentEvent("\n\r\n")], cuts=[])
@example(sent=[ServerSentEvent("", event=":", id=" ")], cuts=[3])
@example(sent=[ServerSentEvent(" :\ufeff", comment="\n")], cuts=[])
def test_encode_is_read_by_eventsource_parser(
    node: NodeParser, sent: list[ServerSentEvent], cuts: list[int]
) -> None:
    """Whatever the fields, npm's eventsource-parser reads them as they were sent."""
    body = b"".join(event.encode() for event in sent)
    assert node.parse(pieces(body, cuts)) == expected_of_node(sent)


@given(data=json_data)
def test_text_of_json_is_one_line_and_reads_back(data: Any) -> None:
    """JSON data never takes more than one data line, and is parsed as it was."""
    written = ServerSentEvent(data).text()
    assert written is not None
    assert not re.search("[\r\n]", written)
    assert json.loads(written) == data


@given(data=st.text(st.characters(codec="utf-8")))
def test_encode_of_text_is_one_frame(data: str) -> None:
    """No text can end its own event or begin another: one blank line, at the end."""
    frame = ServerSentEvent(data).encode()
    assert frame.endswith(b"\n\n")
    assert frame.index(b"\n\n") == len(frame) - 2
    assert b"\r" not in frame
    assert all(row.startswith(b"data: ") for row in frame[:-2].split(b"\n"))
