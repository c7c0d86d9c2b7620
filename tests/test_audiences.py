"""Audiences: who gets an event, once, in which order, and in how many pieces."""

import pytest

from django_sse.audiences import Audience, Audiences, deliver
from django_sse.batches import Batch
from django_sse.envelope import Delivery, unpack
from django_sse.places import Place
from django_sse.positions import START, Position, decode
from django_sse.readers import Readers
from django_sse.runs import Item, Run
from tests.test_runs import runs_of

GROUPS = frozenset({"g", "h"})


class Reader:
    """A member that keeps what it was handed."""

    def __init__(self) -> None:
        self.audience: Audience | None = None
        self.batches: list[Batch] = []

    def take(self, batch: Batch) -> None:
        self.batches.append(batch)

    def join(self, readers: Readers) -> None: ...

    def part(self) -> None: ...

    @property
    def data(self) -> list[list[object]]:
        return [[item.event.data for item in batch.items] for batch in self.batches]


def delivery(data: str, mark: str = "", groups: tuple[str, ...] = ("g",)) -> Delivery:
    """Return an event for the first of *groups*, in no history."""
    fields = {"groups": list(groups)} if len(groups) > 1 else {}
    return unpack({"group": groups[0], "data": data, "mark": mark, **fields})


def numbered(number: int, group: str = "g") -> Delivery:
    """Return the event of that number in the history of *group*."""
    place = {"number": number, "mark": f"{number:08}", "previous": f"{number - 1:08}"}
    return unpack({"group": group, "data": str(number), **place})


def hand_out(audience: Audience, *deliveries: Delivery) -> None:
    """Have *deliveries* handed out in one go."""
    for run in runs_of(deliveries):
        audience.put(run)
    audience.flush(0.0)


def join(audience: Audience, *readers: Reader) -> None:
    """Put *readers*, who are live, into the audience."""
    audience.members.update(readers)
    for reader in readers:
        audience.admit(reader)


@pytest.fixture
def audience() -> Audience:
    return Audience(GROUPS)


@pytest.fixture
def followed() -> Audience:
    """An audience whose groups have histories."""
    return Audience(GROUPS, Place({"g": START, "h": START}))


def test_batch_joins_its_frames_once() -> None:
    """The same bytes object goes to every stream."""
    batch = Batch.of([Item(delivery("a")), Item(delivery("b"), b"id: x\n")])
    assert batch.frames == b"data: a\n\nid: x\ndata: b\n\n"
    assert batch.frames is batch.frames


def test_batch_of_nothing_has_no_bytes() -> None:
    """A filter may leave nothing."""
    assert Batch.of([]).frames == b""


def test_item_has_the_event_with_its_id() -> None:
    """Code is given what the wire has."""
    event = Item(delivery("a"), b"id: x\n").event
    assert (event.data, event.id) == ("a", "x")
    assert event.encode() == Item(delivery("a"), b"id: x\n").frame == b"id: x\ndata: a\n\n"
    assert Item(delivery("a")).event.id is None


def test_put_tells_of_the_first_run(audience: Audience) -> None:
    """An audience has one turn, whatever is due for it."""
    assert audience.put(Run(delivery("a")))
    assert not audience.put(Run(delivery("b")))
    audience.flush(0.0)
    assert audience.put(Run(delivery("c")))


def test_flush_hands_one_batch_to_every_member(audience: Audience) -> None:
    """The events of a tick, in order, in the same batch for all."""
    readers = [Reader() for _ in range(3)]
    join(audience, *readers)
    for data in ("a", "b", "c"):
        audience.put(Run(delivery(data)))
    assert all(reader.batches == [] for reader in readers)
    audience.flush(0.0)
    assert all(reader.data == [["a", "b", "c"]] for reader in readers)
    assert len({id(reader.batches[0]) for reader in readers}) == 1


def test_flush_hands_nothing_to_a_member_on_its_way(followed: Audience) -> None:
    """One that is not live reads what it lacks by itself."""
    live, behind = Reader(), Reader()
    join(followed, live, behind)
    followed.withdraw(behind)
    hand_out(followed, numbered(1))
    assert live.data == [["1"]]
    assert behind.batches == []


def test_flush_of_nothing_calls_nobody(audience: Audience) -> None:
    """An audience is flushed when it changes, too, and often has nothing then."""
    reader = Reader()
    join(audience, reader)
    audience.flush(0.0)
    assert reader.batches == []


def test_flush_hands_each_event_out_once(audience: Audience) -> None:
    """The next tick begins with nothing."""
    reader = Reader()
    join(audience, reader)
    hand_out(audience, delivery("a"))
    audience.flush(0.0)
    hand_out(audience, delivery("b"))
    assert reader.data == [["a"], ["b"]]


def test_flush_without_members_forgets_the_events(audience: Audience) -> None:
    """Whoever comes later gets what comes later."""
    hand_out(audience, delivery("a"))
    reader = Reader()
    join(audience, reader)
    audience.flush(0.0)
    assert reader.batches == []


def test_batch_begins_at_the_place_before_its_first_event(followed: Audience) -> None:
    """A member that cannot take it goes on from there; each item has the id behind it."""
    reader = Reader()
    join(followed, reader)
    for tick in ((1, 2), (3,)):
        hand_out(followed, *map(numbered, tick))
    first, second = reader.batches
    assert first.before is not None
    assert first.before.positions == {"g": START, "h": START}
    assert second.before is not None
    assert second.before.positions == {"g": Position(2, "00000002"), "h": START}
    ids = [item.id_line[4:-1].decode() for batch in reader.batches for item in batch.items]
    said = [decode(id) for id in ids]
    assert [one and one.position("g") for one in said] == [numbered(n).position for n in (1, 2, 3)]


def test_batch_of_events_without_a_history_begins_nowhere(followed: Audience) -> None:
    """There is nowhere to read them again; nor has such an event an id."""
    reader = Reader()
    join(followed, reader)
    hand_out(followed, delivery("a"))
    assert reader.batches[0].before is None
    assert reader.batches[0].frames == b"data: a\n\n"


def test_flush_drops_the_copies_of_an_event_for_several_groups(audience: Audience) -> None:
    """One that was published to two of the audience's groups is delivered once."""
    reader = Reader()
    join(audience, reader)
    copies = [delivery("a", "m1", ("g", "h")), delivery("a", "m1", ("h", "g"))]
    hand_out(audience, *copies, delivery("b", "m2", ("h", "g")))
    hand_out(audience, delivery("b", "m2", ("g", "h")))
    assert reader.data == [["a", "b"]]


def test_flush_takes_events_of_one_group_as_they_come(audience: Audience) -> None:
    """Two events that say the same are two events."""
    reader = Reader()
    join(audience, reader)
    hand_out(audience, delivery("a"), delivery("a"))
    assert reader.data == [["a", "a"]]


def test_deliver_lets_members_leave_and_come_meanwhile() -> None:
    """A stream that ends in its turn leaves the set that is gone through."""
    members: set[Reader] = set()

    class Leaves(Reader):
        def take(self, batch: Batch) -> None:
            super().take(batch)
            members.discard(self)
            members.add(Reader())

    leaving = [Leaves() for _ in range(3)]
    members.update(leaving)
    deliver(Batch.of([Item(delivery("a"))]), members)
    assert all(reader.data == [["a"]] for reader in leaving)
    assert len(members) == 3
    assert all(reader.batches == [] for reader in members)


def test_deliver_goes_on_behind_a_member_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in one member's way costs no other its events; it is logged."""

    class Broken(Reader):
        def take(self, batch: Batch) -> None:
            raise LookupError("a bug")

    readers = [Reader() for _ in range(10)]
    deliver(Batch.of([Item(delivery("a"))]), [*readers[:5], Broken(), *readers[5:]])
    assert all(reader.data == [["a"]] for reader in readers)
    assert "a bug" in caplog.text


class TestAudiences:
    @pytest.fixture
    def audiences(self) -> Audiences:
        """Those of a hub that has come to the fifth event of each group."""
        return Audiences(lambda groups: dict.fromkeys(groups, Position(5, "00000005")))

    def test_members_of_the_same_groups_share_one(self, audiences: Audiences) -> None:
        """It begins where the hub is."""
        one, two = Reader(), Reader()
        for reader in (one, two):
            audiences.place(reader, GROUPS)
        assert one.audience is two.audience is audiences.at(GROUPS)
        assert one.audience is not None
        assert one.audience.live.keys() == {one, two}
        assert one.audience.place.positions == dict.fromkeys(GROUPS, Position(5, "00000005"))

    def test_an_empty_one_is_forgotten(self, audiences: Audiences) -> None:
        """With its last member, whether that is live or not."""
        reader = Reader()
        audiences.place(reader, GROUPS)
        assert reader.audience is not None
        reader.audience.withdraw(reader)
        audiences.place(reader, frozenset())
        assert reader.audience is None
        assert list(audiences) == []
        assert list(audiences.of("g")) == []

    def test_a_member_on_its_way_stays_so(self, audiences: Audiences) -> None:
        """A change of groups does not make it live."""
        reader = Reader()
        audiences.place(reader, GROUPS)
        assert reader.audience is not None
        reader.audience.withdraw(reader)
        audiences.place(reader, frozenset({"g"}))
        assert reader.audience is not None
        assert reader.audience.members == {reader}
        assert not reader.audience.live

    def test_a_member_takes_along_what_it_has_from_one_of_two_groups(
        self, audiences: Audiences
    ) -> None:
        """The copy that is still to come is passed over where it has gone, too."""
        reader = Reader()
        audiences.place(reader, GROUPS)
        assert reader.audience is not None
        place = {"number": 6, "mark": "00000006", "previous": "00000005"}
        fields = {"data": "x", "groups": ["g", "h"], **place}
        hand_out(reader.audience, unpack({"group": "g", **fields}))
        audiences.place(reader, frozenset({"g", "h", "i"}))
        hand_out(reader.audience, unpack({"group": "h", **fields}))
        assert reader.data == [["x"]]


KEPT = {"number": 6, "mark": "00000006", "previous": "00000005"}


@pytest.mark.parametrize("fields", [KEPT, {"mark": "00000006"}], ids=["kept", "loose"])
class TestBetweenTheCopiesOfAnEvent:
    """An event of two groups has come in the one, and is still to come in the other."""

    @pytest.fixture
    def audiences(self) -> Audiences:
        """Those of a hub that has come to the fifth event of each group."""
        return Audiences(lambda groups: dict.fromkeys(groups, Position(5, "00000005")))

    def come(self, audiences: Audiences, group: str, fields: dict[str, object]) -> None:
        copy = unpack({"group": group, "data": "x", "groups": ["g", "h"], **fields})
        for audience in tuple(audiences.of(group)):
            hand_out(audience, copy)

    def test_who_has_it_does_not_keep_it_from_others(
        self, audiences: Audiences, fields: dict[str, object]
    ) -> None:
        """Those to whom one goes have not seen it."""
        one, other = Reader(), Reader()
        audiences.place(one, GROUPS)
        audiences.place(other, frozenset({"h"}))
        self.come(audiences, "g", fields)
        audiences.place(one, frozenset({"h"}))
        self.come(audiences, "h", fields)
        assert one.data == other.data == [["x"]]

    def test_who_has_it_not_goes_to_those_who_have(
        self, audiences: Audiences, fields: dict[str, object]
    ) -> None:
        """What they pass over is new to one who was in the second group all the time."""
        one, other = Reader(), Reader()
        audiences.place(one, GROUPS)
        audiences.place(other, frozenset({"h"}))
        self.come(audiences, "g", fields)
        audiences.place(other, GROUPS)
        self.come(audiences, "h", fields)
        assert one.data == other.data == [["x"]]

    def test_who_goes_on_is_told_apart_no_longer_than_need_be(
        self, audiences: Audiences, fields: dict[str, object]
    ) -> None:
        """When all have it they are one audience again, as soon as somebody comes."""
        members = [Reader() for _ in range(3)]
        only_h = frozenset({"h"})
        audiences.place(members[0], GROUPS)
        audiences.place(members[1], only_h)
        self.come(audiences, "g", fields)
        audiences.place(members[0], only_h)
        assert members[0].audience is not members[1].audience
        self.come(audiences, "h", fields)
        audiences.place(members[2], only_h)
        assert [len(audience.live) for audience in audiences] == [3]
        assert members[0].audience is members[1].audience is audiences.at(only_h)

    def test_what_is_told_to_be_known_is_nobody_elses(
        self, audiences: Audiences, fields: dict[str, object]
    ) -> None:
        """An id is the client's to write: the ids of others are not to grow by it."""
        one, other = Reader(), Reader()
        audiences.place(one, GROUPS)
        assert one.audience is not None
        marks = [f"{number:08}" for number in range(300)]
        place = Place(one.audience.place.positions, dict.fromkeys(marks, GROUPS))
        one.audience.withdraw(one)
        audiences.settle(one, place)
        audiences.place(other, GROUPS)
        assert other.audience is not None
        assert one.audience.place.id == place.id
        assert other.audience is audiences.at(GROUPS)
        assert other.audience is not one.audience
        assert len(other.audience.place.id) < 100
        self.come(audiences, "g", fields)
        self.come(audiences, "h", fields)
        assert other.data == [["x"]]
