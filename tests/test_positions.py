"""Positions, and the event ids that tell them."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_sse.framing import check_field
from django_sse.positions import START, Position, decode, encode, new_mark, record

marks = st.from_regex(r"[A-Za-z0-9_-]{8}", fullmatch=True)
positions = st.builds(Position, st.integers(0, 16**15 - 1), marks)
places = st.dictionaries(st.text(min_size=1), positions, max_size=20)


@st.composite
def places_and_ahead(draw: st.DrawFn) -> tuple[dict[str, Position], dict[str, frozenset[str]]]:
    """Return positions, and marks of events that are to come in some of their groups."""
    place = draw(places)
    if not place:
        return place, {}
    among = st.frozensets(st.sampled_from(sorted(place)), min_size=1)
    return place, draw(st.dictionaries(marks, among, max_size=20))


def tag_of(group: str) -> str:
    """Return what an id has in place of the group's name."""
    return record(group, START)[:6].decode()


@given(made_of=places_and_ahead())
def test_an_id_says_what_it_was_made_of(
    made_of: tuple[dict[str, Position], dict[str, frozenset[str]]],
) -> None:
    """Whatever the groups, each is found at its position, and the events ahead are there."""
    place, ahead = made_of
    if not place or len({tag_of(group) for group in place}) < len(place):
        return  # That two names have one tag is a chance of one in seventy billion.
    said = decode(encode(place, ahead))
    assert said is not None
    assert {group: said.position(group) for group in place} == place
    assert said.ahead(place) == ahead


@given(made_of=places_and_ahead(), others=st.frozensets(st.text(min_size=1)))
def test_an_id_is_read_by_a_stream_of_other_groups(
    made_of: tuple[dict[str, Position], dict[str, frozenset[str]]], others: frozenset[str]
) -> None:
    """Of the events ahead it is told those of its groups, whatever these are."""
    place, ahead = made_of
    said = decode(encode(place, ahead)) if place else None
    if said is not None:
        mine = others.union(list(place)[::2])
        expected = {mark: groups & mine for mark, groups in ahead.items() if groups & mine}
        assert said.ahead(mine) == expected


@given(place=places, other=st.text(min_size=1))
def test_an_id_says_nothing_of_other_groups(place: dict[str, Position], other: str) -> None:
    """A group that the client was not in is unknown, and is no reason to refuse the others."""
    said = decode(encode(place))
    if place and other not in place:
        assert said is not None
        assert said.position(other) is None


@given(made_of=places_and_ahead())
def test_an_id_can_be_sent_as_one(
    made_of: tuple[dict[str, Position], dict[str, frozenset[str]]],
) -> None:
    """It is a field of an event, a header and a query parameter as it stands."""
    id = encode(*made_of)
    check_field("id", id)
    assert re.fullmatch(r"[A-Za-z0-9_.~-]*", id)


@pytest.mark.parametrize("group", ["orders", "user.17", "orders.eu", "приказы", "aaaaaaaaaa"])
def test_an_id_never_shows_the_name_of_a_group(group: str) -> None:
    """Nor a hash that could be made without SECRET_KEY: names may be guessed."""
    id = encode({group: Position(5, "m" * 8)})
    assert group not in id
    assert tag_of(group) not in group


def test_tags_are_keyed(settings: Any) -> None:
    """With another SECRET_KEY each name has another tag."""
    tags = {tag_of("orders")}
    for secret in ("one", "two", b"bytes"):
        settings.SECRET_KEY = secret
        tags.add(tag_of("orders"))
    assert len(tags) == 4


def test_an_id_of_another_secret_key_knows_no_group(settings: Any) -> None:
    """It is well formed all the same."""
    id = encode({"a": Position(5, "m" * 8)})
    settings.SECRET_KEY = "another"
    said = decode(id)
    assert said is not None
    assert said.position("a") is None


def test_an_id_of_a_fallback_key_is_known(settings: Any) -> None:
    """A project that rotates its key keeps its clients; new ids are made with the new key."""
    old = encode({"a": Position(5, "m" * 8)})
    settings.SECRET_KEY_FALLBACKS = ["older still", settings.SECRET_KEY]
    settings.SECRET_KEY = "new"
    said = decode(old)
    assert said is not None
    assert said.position("a") == Position(5, "m" * 8)
    assert encode({"a": Position(5, "m" * 8)}) != old


def test_the_newer_key_goes_before_its_fallbacks(settings: Any) -> None:
    """An id that has a group by both is read by the one that makes ids now."""
    settings.SECRET_KEY = "old"
    old = record("a", Position(5, "m" * 8))
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", ["old"]
    new = record("a", Position(9, "n" * 8))
    said = decode(b".".join((old, new)).decode())
    assert said is not None
    assert said.position("a") == Position(9, "n" * 8)


GOOD = "abcdef" + "m" * 8 + "1f"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "1234567",
        "abc def",
        ".",
        "~",
        "~short",
        "~" + "m" * 9,
        GOOD[:14],
        GOOD + "g",
        GOOD + "F",
        GOOD + "0" * 14,
        GOOD + ".",
        "." + GOOD,
        f"{GOOD}..{GOOD}",
        GOOD + "\n",
        GOOD + ".~" + "m" * 8,
        GOOD + ".~" + "m" * 8 + "1\n",
        GOOD + ".~" + "m" * 8 + "1" * 251,
        GOOD + "\0",
        " " + GOOD,
        "é" + GOOD[1:],
        GOOD[:-1] + "\u0661",
        "\ud800",
        "9" * 5000,
        json.dumps({"a": 1}),
        "-1",
        "../../etc/passwd",
        "a" * 100_000,
    ],
)
def test_decode_of_what_is_no_id(text: str) -> None:
    """The header is the client's: whatever it has is an answer, never an exception."""
    assert decode(text) is None


@given(st.text() | st.text("abcdef0123456789.~-_"))
def test_decode_never_raises(text: str) -> None:
    """Nor does what is looked up in it."""
    said = decode(text)
    if said is not None:
        assert said.position("a") is None
        assert said.ahead(["a", "b"]) == {}


def test_an_id_tells_as_much_as_it_has_room_for() -> None:
    """The positions always, and of the events ahead the newest."""
    groups = [f"group {number}" for number in range(100)]
    place = {group: Position(1_000_000, new_mark()) for group in groups}
    ahead = {new_mark(): frozenset(groups) for _ in range(5000)}
    id = encode(place, ahead)
    assert 7700 < len(id) <= 8000
    said = decode(id)
    assert said is not None
    assert {group: said.position(group) for group in groups} == place
    told = said.ahead(groups)
    assert list(told.items()) == list(ahead.items())[-len(told) :]


def test_decode_refuses_what_no_header_holds() -> None:
    """An id of any length would be work for whoever reads it."""
    parts = [record(f"group {number}", START).decode() for number in range(363)]
    assert decode(".".join(parts)[:8000]) is not None
    assert decode(".".join(parts * 2)) is None


def test_ids_are_short() -> None:
    """Each event carries one: 16 characters for a group that has had a million events."""
    one = encode({"orders": Position(15, new_mark())})
    assert len(one) == 15
    many = encode({f"group {n}": Position(1_000_000, new_mark()) for n in range(100)})
    assert len(many) == 100 * 20 - 1
    assert decode(many) is not None


def test_new_marks_differ() -> None:
    """They tell events apart, in whichever process they were published."""
    found = {new_mark() for _ in range(10_000)}
    assert len(found) == 10_000
    assert all(re.fullmatch(r"[\w-]{8}", mark, re.ASCII) for mark in found)


def test_start_can_be_told() -> None:
    """A client may come back before the first event of a group."""
    said = decode(encode({"a": START}))
    assert said is not None
    assert said.position("a") == START
