"""An event on its way through a channel layer: what is sent, and what comes out."""

import datetime
import json
from typing import Any

import msgpack  # type: ignore[import-untyped]  # published without types
import pytest
from channels.layers import InMemoryChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from django_sse import ServerSentEvent
from django_sse.envelope import Delivery, address, join, pack, to_message, unpack, unpack_all
from django_sse.exceptions import EventTooLarge, InvalidEvent
from django_sse.history import Entry
from django_sse.positions import Position


def sent(event: ServerSentEvent, *, group: str = "orders", **options: Any) -> Delivery:
    """Return the delivery of *event*, through what channels_redis does to a message."""
    message = address(pack(event, **options).message, group)
    return unpack(msgpack.unpackb(msgpack.packb(message)))


def test_pack_makes_the_smallest_message() -> None:
    """What is None is left out; the group is for the publisher to add."""
    event = ServerSentEvent("hi")
    packed = pack(event)
    mark = packed.message["mark"]
    assert packed == (event, {"type": "sse.event", "mark": mark, "data": "hi"})


def test_pack_gives_each_event_a_mark_of_its_own() -> None:
    """Events that say the same are two events."""
    marks = {pack(ServerSentEvent("hi")).message["mark"] for _ in range(1000)}
    assert len(marks) == 1000


def test_pack_makes_a_message_of_every_field() -> None:
    """Data is text, with a mark where that is JSON."""
    event = ServerSentEvent({"a": 1}, event="changed", retry=500)
    message = pack(event, key="k", groups=("a", "b")).message
    assert message == {
        "type": "sse.event",
        "mark": message["mark"],
        "data": '{"a":1}',
        "json": True,
        "event": "changed",
        "retry": 500,
        "key": "k",
        "groups": ["a", "b"],
    }


def test_pack_leaves_a_single_group_out() -> None:
    """It is the message's group."""
    assert "groups" not in pack(ServerSentEvent("a"), groups=("a",)).message


def test_pack_keeps_what_is_false_but_not_none() -> None:
    """Zero, the empty string and False are values."""
    message = pack(ServerSentEvent(False, event="", retry=0), key="").message
    assert message == {
        "type": "sse.event",
        "mark": message["mark"],
        "data": "false",
        "json": True,
        "event": "",
        "retry": 0,
        "key": "",
    }


def test_pack_of_no_data() -> None:
    """An event may be only its type, or a retry."""
    message = pack(ServerSentEvent(event="ping")).message
    assert message == {
        "type": "sse.event",
        "mark": message["mark"],
        "data": None,
        "event": "ping",
    }
    assert sent(ServerSentEvent(event="ping")).frame == b"event: ping\n\n"
    assert sent(ServerSentEvent(event="ping")).event == ServerSentEvent(event="ping")


def test_pack_refuses_data_that_is_no_json() -> None:
    """The publisher hears of it, not a log of another process."""
    with pytest.raises(InvalidEvent, match="Data of type object cannot be written as JSON"):
        pack(ServerSentEvent(object()))


def test_pack_refuses_text_that_is_no_utf_8() -> None:
    """So it is with what the wire cannot carry."""
    with pytest.raises(InvalidEvent, match="UTF-8"):
        pack(ServerSentEvent("\ud800"))


def test_pack_refuses_an_event_beyond_the_limit(settings: Any) -> None:
    """The limit counts the bytes of the frame; the message names both and the fix."""
    frame = ServerSentEvent("é" * 10).encode()
    settings.DJANGO_SSE = {"MAX_EVENT_BYTES": len(frame)}
    assert pack(ServerSentEvent("é" * 10))
    with pytest.raises(EventTooLarge) as caught:
        pack(ServerSentEvent("é" * 10 + "x"))
    assert str(caught.value) == (
        f"The event takes {len(frame) + 1} bytes; DJANGO_SSE['MAX_EVENT_BYTES'] is {len(frame)}."
        " Send a reference that the page can fetch, or raise the limit."
    )
    assert isinstance(caught.value, InvalidEvent)


def test_delivery_has_the_frame_of_the_event() -> None:
    """Each stream writes what the publisher's own encode() gives."""
    event = ServerSentEvent("a\r\nb", event="changed", retry=7)
    assert sent(event).frame == event.encode()


def test_delivery_of_json_parses_it_when_it_is_asked() -> None:
    """Who reads the event in code gets data, not text; the types are JSON's."""
    delivered = sent(ServerSentEvent({"day": datetime.date(2026, 1, 2)}, event="e"))
    assert delivered.event == ServerSentEvent({"day": "2026-01-02"}, event="e")
    assert delivered.event is delivered.event
    assert delivered.event.encode() is delivered.frame


def test_delivery_of_text_that_looks_like_json_stays_text() -> None:
    """A string is what it was published as."""
    assert sent(ServerSentEvent('{"a": 1}')).event.data == '{"a": 1}'


def test_delivery_knows_its_groups_and_its_key() -> None:
    """A key counts within its group."""
    delivered = sent(ServerSentEvent("a"), group="orders", key="k", groups=("orders", "b"))
    assert delivered.group == "orders"
    assert delivered.groups == ["orders", "b"]
    assert delivered.key == ("orders", "k")
    plain = sent(ServerSentEvent("a"))
    assert plain.key is None
    assert list(plain.groups) == ["orders"]
    assert plain.number is None


def test_delivery_of_an_entry_has_its_place() -> None:
    """What comes from a store, and what the layer carries of it, are the same."""
    message = pack(ServerSentEvent({"a": 1}, event="e"), key="k").message
    entry = Entry("orders", 8, message["mark"], "previous", message)
    for delivered in (Delivery.of(entry), unpack(to_message(entry))):
        assert delivered.position == Position(8, message["mark"])
        assert delivered.follows(Position(7, "previous"))
        assert not delivered.follows(Position(7, "another"))
        assert not delivered.follows(Position(6, "previous"))
        assert delivered.key == ("orders", "k")
        assert delivered.event == ServerSentEvent({"a": 1}, event="e")


def test_delivery_of_a_reset_is_an_event_of_its_own_kind() -> None:
    """A page hears of it by name; the reader goes on behind it."""
    delivered = Delivery.of_reset("orders", Position(3, "m"), "lost")
    assert delivered.is_reset
    assert delivered.frame == b"event: reset\ndata: lost\n\n"
    assert (delivered.group, delivered.position) == ("orders", Position(3, "m"))


def test_event_with_an_id_is_what_goes_over_the_wire() -> None:
    """The id line goes before the frame that all share."""
    delivered = sent(ServerSentEvent("a"))
    event = delivered.event_with(b"id: x\n", "x")
    assert event == ServerSentEvent("a", id="x")
    assert event.encode() == b"id: x\ndata: a\n\n"
    assert delivered.event.id is None


def test_delivery_with_an_empty_key_has_a_key() -> None:
    """The empty string is one."""
    assert sent(ServerSentEvent("a"), key="").key == ("orders", "")


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": "sse.event"},
        {"type": "sse.event", "group": "g"},
        {"type": "sse.event", "data": "a"},
        {"type": "sse.event", "group": "g", "data": 7},
        {"type": "sse.event", "group": "g", "data": b"a"},
        {"type": "chat.message", "text": "hello"},
        {"type": "sse.event", "group": "g", "data": "a", "mark": 7},
        {"type": "sse.event", "group": "g", "data": "a", "mark": "m", "number": 1},
        {"type": "sse.event", "group": "g", "data": "a", "number": "1", "previous": "m"},
        {"type": "sse.event", "group": "g", "data": "a", "number": 1, "previous": None},
        {"type": "sse.event", "group": "g", "data": "a", "groups": [1, 2]},
    ],
)
def test_unpack_refuses_what_is_no_event(message: dict[str, Any]) -> None:
    """A message of someone else's is an error, which the hub logs."""
    with pytest.raises((KeyError, TypeError)):
        unpack(message)


json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    data=json_data.filter(lambda data: "Infinity" not in json.dumps(data)),
    event=st.none() | st.text().filter(lambda text: not set(text) & set("\r\n\0")),
    retry=st.none() | st.integers(0, 2**63),
    group=st.text(),
    key=st.none() | st.text(),
)
def test_an_event_comes_out_as_it_went_in(
    data: Any, event: str | None, retry: int | None, group: str, key: str | None
) -> None:
    """Whatever its fields, what a subscriber reads equals what was published."""
    original = ServerSentEvent(data, event=event, retry=retry)
    delivered = sent(original, group=group, key=key)
    assert delivered.event == original
    assert delivered.frame == original.encode()
    assert delivered.group == group
    assert delivered.key == (None if key is None else (group, key))


async def test_the_in_memory_layer_copies_nothing_of_an_event() -> None:
    """It copies each message for each process, deeply: what is sent is what is received."""
    layer: Any = InMemoryChannelLayer()
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    one = to_message(Entry("g", 1, "m1", "", pack(ServerSentEvent({"a": [1]})).message))
    for message in (one, join([one, one]), address(pack(ServerSentEvent("x")).message, "g")):
        await layer.group_send("g", message)
        assert await layer.receive(channel) is message


def test_events_of_other_groups_are_left_out_unread() -> None:
    """A message to all hubs is mostly for others; what is malformed there is theirs to tell."""
    own = {
        "type": "sse.event",
        "group": "a",
        "number": 1,
        "mark": "m",
        "previous": "p",
        "data": "x",
    }
    others = [{"group": f"b{number}", "number": 1} for number in range(30)]
    message = {"type": "sse.event", "group": "", "number": 1, "events": [*others, own]}
    assert [one.group for one in unpack_all(message, {"a"})] == ["a"]
    live = {"type": "sse.event", "group": "b", "data": "x"}
    assert [one.group for one in unpack_all(live, {"a"})] == ["b"]
