"""Places: how far a reader has come in several groups, and which events it has from another."""

import random
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from django_sse import places
from django_sse.envelope import Delivery
from django_sse.history import Entry
from django_sse.places import Place
from django_sse.positions import START, Position, decode

GROUPS = ("a", "b", "c")


def histories(events: list[frozenset[str]]) -> dict[str, list[Delivery]]:
    """Return what each group's history is after *events*, each for some of the groups."""
    found: dict[str, list[Entry]] = {group: [] for group in GROUPS}
    for index, groups in enumerate(events):
        for group in sorted(groups):
            entries = found[group]
            before = entries[-1].mark if entries else START.mark
            message = {"data": str(index), "mark": f"{index:08}", "groups": sorted(groups)}
            entry = Entry(group, len(entries) + 1, f"{index:08}", before, message)
            entries.append(entry)
    return {group: [Delivery.of(entry) for entry in found[group]] for group in found}


def interleaved(of: dict[str, list[Delivery]], seed: int) -> Iterator[Delivery]:
    """Yield all, each group's in order, the groups in any."""
    chosen = random.Random(seed)
    left = {group: list(deliveries) for group, deliveries in of.items() if deliveries}
    while left:
        group = chosen.choice(sorted(left))
        yield left[group].pop(0)
        if not left[group]:
            del left[group]


def of_start() -> Place:
    return Place(dict.fromkeys(GROUPS, START))


events = st.lists(st.frozensets(st.sampled_from(GROUPS), min_size=1), max_size=40)
seeds = st.integers(0, 2**32)


@given(events=events, seed=seeds)
def test_each_event_is_new_once(events: list[frozenset[str]], seed: int) -> None:
    """However the histories of the groups come mixed, one of several groups is read once."""
    place = of_start()
    taken = [d.mark for d in interleaved(histories(events), seed) if place.take(d, GROUPS)]
    assert sorted(taken) == [f"{index:08}" for index in range(len(events))]
    assert place.positions == {
        group: found[-1].position if found else START for group, found in histories(events).items()
    }
    assert place._ahead == {}


@given(events=events, seed=seeds, cut=st.integers(0, 200))
def test_each_event_is_new_once_over_a_reconnection(
    events: list[frozenset[str]], seed: int, cut: int
) -> None:
    """The id tells all that is needed to go on from it, in any order."""
    place = of_start()
    order = list(interleaved(histories(events), seed))
    taken = [d.mark for d in order[:cut] if place.take(d, GROUPS)]
    said = decode(place.id)
    assert said is not None
    positions = {group: said.position(group) or START for group in GROUPS}
    resumed = Place(positions, said.ahead(GROUPS))
    rest = {
        group: [d for d in found if (d.number or 0) > positions[group].number]
        for group, found in histories(events).items()
    }
    taken += [d.mark for d in interleaved(rest, seed + 1) if resumed.take(d, GROUPS)]
    assert sorted(taken) == [f"{index:08}" for index in range(len(events))]
    assert resumed._ahead == {}


@given(events=events, seed=seeds, mine=st.frozensets(st.sampled_from(GROUPS), min_size=1))
def test_a_reader_of_some_groups_only(
    events: list[frozenset[str]], seed: int, mine: frozenset[str]
) -> None:
    """It does not wait for copies that go to others."""
    place = Place(dict.fromkeys(mine, START))
    order = [d for d in interleaved(histories(events), seed) if d.group in mine]
    taken = [d.mark for d in order if place.take(d, mine)]
    assert sorted(taken) == [f"{i:08}" for i, groups in enumerate(events) if groups & mine]
    assert place._ahead == {}


def test_id_line_is_that_of_the_id() -> None:
    """It is made once for all readers of a place, and anew when the place has changed."""
    place = of_start()
    first = place.id_line
    assert first == b"id: %b\n" % place.id.encode()
    assert place.id_line is first
    [one] = histories([frozenset({"a"})])["a"]
    place.take(one, GROUPS)
    assert place.id_line == b"id: %b\n" % place.id.encode() != first


def test_id_line_without_a_history() -> None:
    """Nothing, where no group has one."""
    assert Place({}).id_line == b""


def test_copy_stays_where_it_was() -> None:
    """What the one takes the other does not know of."""
    place = of_start()
    [first] = histories([frozenset({"a", "b"})])["a"]
    copy = place.copy()
    assert place.take(first, GROUPS)
    assert copy.positions == dict.fromkeys(GROUPS, START)
    assert copy.id == of_start().id
    assert copy.take(first, GROUPS)


def test_moved_keeps_what_the_reader_knows() -> None:
    """A group that stays has its position, a new one the given."""
    place = of_start()
    both = histories([frozenset({"a", "b"})])
    place.take(both["a"][0], GROUPS)
    moved = place.moved({"a": START, "b": START, "d": Position(9, "m" * 8)})
    assert moved.positions == {
        "a": both["a"][0].position,
        "b": START,
        "d": Position(9, "m" * 8),
    }
    assert not moved.take(both["b"][0], ("a", "b", "d"))


def test_merge_takes_over_what_is_known() -> None:
    """The copy that is still to come is passed over here, too."""
    place, other = of_start(), of_start()
    both = histories([frozenset({"a", "b"})])
    other.take(both["a"][0], GROUPS)
    before = place.id_line
    place.merge(other, GROUPS)
    assert place.id_line != before
    assert not place.take(both["b"][0], GROUPS)


def test_merge_adds_to_what_is_known() -> None:
    """Of one event two readers may know it from different groups; only those asked for count."""
    place = Place(of_start().positions, {"m" * 8: frozenset("a")})
    other = Place(of_start().positions, {"m" * 8: frozenset("bc"), "n" * 8: frozenset("c")})
    place.merge(other, ["b"])
    assert place._ahead == {"m" * 8: frozenset("ab")}


def test_event_is_passed_over_only_where_it_is_known() -> None:
    """In a group to which the reader comes back it is new, and passed over in the other still."""
    both = histories([frozenset({"a", "b"})])
    mark = both["a"][0].mark
    place = Place(of_start().positions, {mark: frozenset("b")})
    assert not place.is_ahead(both["a"][0])
    assert place.take(both["a"][0], GROUPS)
    assert place.is_ahead(both["b"][0])
    assert not place.take(both["b"][0], GROUPS)


def test_event_that_is_new_after_all_is_passed_over_in_all_other_groups() -> None:
    """Not only in those that it was to be passed over in before."""
    of = histories([frozenset({"a", "b", "c"})])
    [first], [second], [third] = of["a"], of["b"], of["c"]
    place = Place(of_start().positions, {first.mark: frozenset("a")})
    assert [place.take(copy, GROUPS) for copy in (second, third, first)] == [True, False, False]
    assert place._ahead == {}


def test_what_is_ahead_is_bounded() -> None:
    """Copies that never come, of publishers that died, do not fill the memory, or the id."""
    place = of_start()
    for delivery in histories([frozenset({"a", "b"})] * 3000)["a"]:
        place.take(delivery, GROUPS)
    assert len(place._ahead) == places._MAX_AHEAD
    assert decode(place.id) is not None


def test_events_without_a_history_are_read_once_too() -> None:
    """No id tells of them, and no place is reached by them."""
    place = of_start()
    id = place.id
    fields = {"data": "x", "mark": "m" * 8, "groups": ["a", "b"]}
    assert place.take(Delivery({"group": "a", **fields}), GROUPS)
    assert place.id == id
    assert not place.take(Delivery({"group": "b", **fields}), GROUPS)
    assert place.positions == dict.fromkeys(GROUPS, START)
