"""The wire form of an event: exact bytes, and what cannot be written."""

import enum
from typing import Any

import pytest

from django_sse.exceptions import InvalidEvent, SSEError
from django_sse.framing import HEARTBEAT, check_field, check_retry, frame


class Kind(str, enum.Enum):  # noqa: UP042 - not a StrEnum, which formats as its value
    CREATED = "created"


class Milliseconds(int, enum.Enum):
    SECOND = 1000


def test_heartbeat_is_an_empty_comment() -> None:
    """A colon is the shortest line that a proxy forwards and a browser drops."""
    assert HEARTBEAT == b":\n\n"


def test_frame_writes_the_fields_in_order() -> None:
    """Comment, event, id, retry, then data, each on a line of its own, and a blank line."""
    framed = frame("hello", event="greeting", id="7", retry=1500, comment="for people")
    assert framed == b": for people\nevent: greeting\nid: 7\nretry: 1500\ndata: hello\n\n"


def test_frame_of_nothing_is_a_blank_line() -> None:
    """No field, no line: a browser dispatches nothing."""
    assert frame() == b"\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param("a\nb", b"data: a\ndata: b\n\n", id="lf"),
        pytest.param("a\rb", b"data: a\ndata: b\n\n", id="bare-cr"),
        pytest.param("a\r\nb", b"data: a\ndata: b\n\n", id="crlf-is-one"),
        pytest.param("a\n\rb", b"data: a\ndata: \ndata: b\n\n", id="lf-cr-is-two"),
        pytest.param("a\r\r\nb", b"data: a\ndata: \ndata: b\n\n", id="cr-crlf-is-two"),
        pytest.param("\n", b"data: \ndata: \n\n", id="only-lf"),
        pytest.param("a\n", b"data: a\ndata: \n\n", id="last-line-end-kept"),
        pytest.param("\na", b"data: \ndata: a\n\n", id="first-line-end-kept"),
        pytest.param("", b"data: \n\n", id="empty"),
        pytest.param(" a", b"data:  a\n\n", id="leading-space-kept"),
        pytest.param("  ", b"data:   \n\n", id="only-spaces"),
        pytest.param(":a", b"data: :a\n\n", id="leading-colon"),
        pytest.param("data: a", b"data: data: a\n\n", id="looks-like-a-field"),
        pytest.param("\ufeffa", b"data: \xef\xbb\xbfa\n\n", id="byte-order-mark"),
        pytest.param("a\0b", b"data: a\0b\n\n", id="nul-stays-in-data"),
        pytest.param("ž😀", b"data: \xc5\xbe\xf0\x9f\x98\x80\n\n", id="utf-8"),
    ],
)
def test_frame_data_splits_at_line_ends(data: str, expected: bytes) -> None:
    """Each line of data is one ``data:`` line; nothing else of it is changed."""
    assert frame(data) == expected


@pytest.mark.parametrize(
    "character",
    ["\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"],
    ids=ascii,
)
def test_frame_data_keeps_what_only_python_calls_a_line_end(character: str) -> None:
    """str.splitlines() splits at these; the wire does not."""
    assert len(f"a{character}b".splitlines()) == 2
    assert frame(f"a{character}b") == f"data: a{character}b\n\n".encode()
    assert frame(comment=f"a{character}b") == f": a{character}b\n\n".encode()
    assert frame(event=f"a{character}b") == f"event: a{character}b\n\n".encode()


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        pytest.param("", b":\n\n", id="empty"),
        pytest.param("a", b": a\n\n", id="one-line"),
        pytest.param(" a", b":  a\n\n", id="leading-space"),
        pytest.param("a\nb\r\nc\rd", b": a\n: b\n: c\n: d\n\n", id="many-lines"),
        pytest.param("a\n\ndata: b", b": a\n:\n: data: b\n\n", id="cannot-end-the-frame"),
    ],
)
def test_frame_comment_is_a_colon_before_each_line(comment: str, expected: bytes) -> None:
    """No line of a comment can become a field, and none is lost."""
    assert frame(comment=comment) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"id": ""}, b"id: \n\n"),
        ({"event": ""}, b"event: \n\n"),
        ({"retry": 0}, b"retry: 0\n\n"),
        ({"id": " 7"}, b"id:  7\n\n"),
        ({"event": ":a"}, b"event: :a\n\n"),
    ],
)
def test_frame_writes_empty_fields(fields: dict[str, Any], expected: bytes) -> None:
    """A field that is given is written, were it empty: an empty id forgets the last one."""
    assert frame(**fields) == expected


def test_frame_writes_the_value_of_an_enum() -> None:
    """A member of a str or int enum stands for its value, not for its name."""
    framed = frame(
        Kind.CREATED,
        event=Kind.CREATED,
        id=Kind.CREATED,
        retry=Milliseconds.SECOND,
        comment=Kind.CREATED,
    )
    assert framed == b": created\nevent: created\nid: created\nretry: 1000\ndata: created\n\n"


def test_frame_never_asks_a_subclass_how_it_is_formatted() -> None:
    """What was checked is what is written: __format__ and __str__ could add a line end."""

    class Sly(str):
        def __format__(self, spec: str) -> str:
            return "a\n\ndata: forged"

        __str__ = __repr__ = lambda self: "a\n\ndata: forged"

    check_field("event", Sly("a"))
    expected = b": a\nevent: a\nid: a\ndata: a\n\n"
    assert frame(Sly("a"), event=Sly("a"), id=Sly("a"), comment=Sly("a")) == expected


@pytest.mark.parametrize("field", ["data", "event", "id", "comment"])
def test_frame_with_a_lone_surrogate_raises(field: str) -> None:
    """UTF-8 cannot carry it; the message names it."""
    with pytest.raises(InvalidEvent, match=r"'\\ud800' at character \d+ .*UTF-8") as caught:
        frame(**{field: "a\ud800"})  # type: ignore[arg-type]
    assert isinstance(caught.value.__cause__, UnicodeEncodeError)


@pytest.mark.parametrize("name", ["event", "id"])
@pytest.mark.parametrize("forbidden", ["\r", "\n", "\0"], ids=ascii)
@pytest.mark.parametrize("pattern", ["{}", "a{}", "{}b", "a{}b"])
def test_check_field_refuses_cr_lf_and_nul(name: str, forbidden: str, pattern: str) -> None:
    """The message names the field, the value, the character and the rule."""
    value = pattern.format(forbidden)
    with pytest.raises(InvalidEvent) as caught:
        check_field(name, value)
    assert str(caught.value) == (
        f"{name}={value!r} holds {forbidden!r}; CR, LF and NUL cannot stand in the {name} field:"
        " remove them, or carry the value in data."
    )


@pytest.mark.parametrize("value", [1, b"a", True, ["a"], object])
def test_check_field_refuses_what_is_no_string(value: object) -> None:
    """The message names the field, the value and its type."""
    with pytest.raises(InvalidEvent) as caught:
        check_field("id", value)
    assert str(caught.value) == (f"id={value!r} is a {type(value).__name__}; it must be a string.")


@pytest.mark.parametrize("value", ["", "a", " ", "\u2028", "\x85", "\t", Kind.CREATED])
def test_check_field_takes_any_other_string(value: str) -> None:
    """Only what the wire or a browser gives a meaning to is refused."""
    check_field("event", value)


@pytest.mark.parametrize("value", [-1, True, False, 1.0, 0.5, "1", b"1", float("nan")])
def test_check_retry_refuses_what_is_no_number_of_milliseconds(value: object) -> None:
    """A browser takes digits only, and ignores the line otherwise: an error says so instead."""
    with pytest.raises(InvalidEvent) as caught:
        check_retry(value)
    assert str(caught.value) == (
        f"retry={value!r} must be a whole number of milliseconds, 0 or more."
    )


@pytest.mark.parametrize("value", [0, 1, 3000, 10**12, Milliseconds.SECOND])
def test_check_retry_takes_a_whole_number(value: int) -> None:
    """Zero is one: reconnect at once."""
    check_retry(value)


def test_invalid_event_is_a_value_error_of_the_family() -> None:
    """It can be caught as either."""
    assert issubclass(InvalidEvent, SSEError)
    assert issubclass(InvalidEvent, ValueError)
