"""Whatever members do while events come: each has all that is for it, once, by exact ids."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from django_sse.audiences import Audience, Audiences
from django_sse.batches import Batch
from django_sse.catching_up import CatchUp
from django_sse.envelope import Delivery, unpack
from django_sse.gathering import Gathering
from django_sse.places import Place
from django_sse.positions import START, Position, decode
from django_sse.readers import Readers
from django_sse.replays import Piece
from django_sse.resuming import Resumption
from django_sse.runs import Item
from tests.test_gathering import Loop

GROUPS = ("a", "b", "c")
EXAMPLES = 200
# So much is read of a history at once.
PIECE = 2


class Site:
    """A hub, whose events come when a test says so, and the histories behind it."""

    def __init__(self) -> None:
        self.histories: dict[str, list[Delivery]] = {group: [] for group in GROUPS}
        # Copies that are on their way, of each group in order.
        self.coming: dict[str, list[Delivery]] = {group: [] for group in GROUPS}
        self.began: dict[str, int] = {}  # When the first copy of each event came.
        self.clock = 0
        some: Any = Loop()
        self.audiences = Audiences(self.positions)
        self.gathering = Gathering(some, some, self.audiences)
        self.following = self

    def positions(self, groups: Iterable[str]) -> Mapping[str, Position]:
        return {
            group: self.histories[group][-1].position if self.histories[group] else START
            for group in groups
        }

    def publish(self, groups: frozenset[str], *, is_kept: bool) -> None:
        mark = f"{len(self.began):08}"
        self.began[mark] = 0
        for group in sorted(groups):
            message: dict[str, Any] = {
                "group": group,
                "data": mark,
                "mark": mark,
                "groups": sorted(groups),
            }
            if is_kept:
                before = [d for d in self.histories[group] + self.coming[group] if d.number]
                previous = before[-1].mark if before else START.mark
                message |= {"number": len(before) + 1, "previous": previous}
            self.coming[group].append(unpack(message))

    def arrive(self, which: int) -> None:
        """Let the next copy of some group come."""
        if groups := [group for group in GROUPS if self.coming[group]]:
            group = groups[which % len(groups)]
            self.clock += 1
            delivery = self.coming[group].pop(0)
            self.began[delivery.mark] = self.began[delivery.mark] or self.clock
            if delivery.number is not None:
                self.histories[group].append(delivery)
            for client in self.clients:
                client.note(delivery)
            self.gathering.put(delivery)

    clients: "list[Client]"

    # What a member that catches up asks for.
    def watch(self, groups: Iterable[str]) -> None: ...
    def unwatch(self, groups: Iterable[str]) -> None: ...
    def resets(self, groups: Iterable[str]) -> dict[str, int]:
        return {}

    async def read(self, group: str, after: Position) -> Piece:
        found = self.histories[group][after.number :][:PIECE]
        return Piece(found, is_full=len(found) == PIECE)


class Client:
    """A stream and its client, who may stop reading, change groups, and come back by any id."""

    def __init__(self, site: Site) -> None:
        self.audience: Audience | None = None
        self.taken: list[Item] = []
        self.is_slow = False
        self._site: Any = site
        self._catch_up: CatchUp | None = None
        self._joined: dict[str, int] = {}  # When it became a member of its groups.
        self._came_back = -1
        self._told: list[tuple[int, str]] = []  # Ids for its present groups, and behind how many.
        self.due: set[str] = set()
        self.allowed: set[str] = set()  # What comes, beside that, of a group just joined.
        self.half: set[str] = set()  # What had begun to come by then.

    def take(self, batch: Batch) -> None:
        if self.is_slow and batch.before is not None:
            self._catch_up = CatchUp(self._site, self, batch.before)
            self.add([item for item in batch.items if item.delivery.number is None])
        else:
            self.add(batch.items)

    def join(self, readers: Readers) -> None: ...
    def part(self) -> None: ...

    def add(self, items: Iterable[Item]) -> None:
        for item in items:
            self.taken.append(item)
            if item.id_line:
                self._told.append((len(self.taken), item.id_line[4:-1].decode()))

    def note(self, delivery: Delivery) -> None:
        """A copy has come while this is a member of some groups."""
        joined = self._joined.get(delivery.group)
        if joined is None:
            return
        if delivery.number is None:
            joined = max(joined, self._came_back)
        if joined < self._site.began[delivery.mark]:
            self.due.add(delivery.mark)
        else:
            self.half.add(delivery.mark)

    def enter(self, groups: frozenset[str]) -> None:
        """Be in *groups*, as EventStream.subscribe() and unsubscribe() have it."""
        left = self._joined.keys() - groups
        self._place(groups)
        now = self._site.clock
        self._joined = {group: self._joined.get(group, now) for group in groups}
        if self._catch_up is not None:
            # Of a group that is left it gets no more, not even what it had not read by then.
            unread = self.due.difference(item.delivery.mark for item in self.taken)
            unread &= {d.mark for group in left for d in self._site.histories[group]}
            self.due -= unread
            self.half |= unread
            self._catch_up.regroup()
        self._told = []
        if self.audience is not None:
            self._told = [(len(self.taken), self.place.id)]

    def _place(self, groups: frozenset[str]) -> None:
        self._site.gathering.flush()
        self._site.audiences.place(self, groups)

    @property
    def place(self) -> Place:
        assert self.audience is not None
        return self._catch_up.place if self._catch_up is not None else self.audience.place

    def come_back(self, which: int) -> None:
        """Lose the connection; all that is known is what the client had at one of its ids."""
        if self.audience is None:
            return
        groups = self.audience.groups
        self._place(frozenset())
        self._catch_up = None
        count, id = self._told[which % len(self._told)]
        # No id tells of what is in no history.
        self._came_back = self._site.clock
        touched = [item.delivery for item in self.taken[count:]]
        touched += [delivery for group in GROUPS for delivery in self._site.coming[group]]
        loose = {delivery.mark for delivery in touched if delivery.number is None} & self.due
        self.due -= loose
        self.half |= loose
        del self.taken[count:]
        self._told = [one for one in self._told if one[0] <= count]
        said, resumption = decode(id), Resumption(id)
        assert said is not None
        wanted = {group: position for group in groups if (position := said.position(group))}
        assert wanted.keys() == groups
        assert resumption._id is not None
        self._place(groups)
        assert self.audience is not None
        place = resumption.place(self.audience.place, wanted)
        self._catch_up = CatchUp(self._site, self, place)

    def read_on(self) -> None:
        """Read what has been missed, until this is live again."""
        self.is_slow = False
        while self._catch_up is not None:
            try:
                self._catch_up.read().send(None)
            except StopIteration as end:
                if end.value is None:
                    self._catch_up = None
                else:
                    self.add(end.value)
            else:
                raise AssertionError("It waits.")

    def check(self) -> None:
        """Everything has come, and been read."""
        marks = [item.delivery.mark for item in self.taken]
        assert self.due <= set(marks)
        assert set(marks) <= self.due | self.half
        # What was published to a group and, before this came, to another, may come from both.
        once = [mark for mark in marks if mark not in self.half]
        assert len(once) == len(set(once))
        for group in GROUPS:
            numbers = [
                item.delivery.number
                for item in self.taken
                if item.delivery.group == group and item.delivery.number
            ]
            assert numbers == sorted(set(numbers))

    def check_ids(self) -> None:
        """What follows an id, by the histories, is what has come behind it."""
        if self.audience is None:
            return
        groups = self.audience.groups
        for count, id in self._told:
            said = decode(id)
            assert said is not None
            positions = {group: said.position(group) or START for group in groups}
            place = Place(positions, said.ahead(groups))
            rest = [
                delivery.mark
                for group in groups
                for delivery in self._site.histories[group][positions[group].number :]
                if place.take(delivery, groups)
            ]
            behind = [item.delivery for item in self.taken[count:]]
            assert sorted(rest) == sorted(d.mark for d in behind if d.number is not None)


any_groups = st.frozensets(st.sampled_from(GROUPS))
some_groups = st.frozensets(st.sampled_from(GROUPS), min_size=1)
who = st.integers(0, 2)
moves = st.tuples(st.just("enter"), who, any_groups)
copies = st.tuples(st.just("arrive"), st.integers(0, 2))
steps = st.one_of(
    st.tuples(st.just("publish"), some_groups),
    st.tuples(st.just("publish loose"), some_groups),
    copies,
    copies,
    copies,
    st.tuples(st.just("flush")),
    moves,
    st.tuples(st.just("stall"), who),
    st.tuples(st.just("read on"), who),
    st.tuples(st.just("come back"), who, st.integers(0, 9)),
)


def take_steps(site: Site, taken: list[Any]) -> None:
    clients = site.clients
    do: dict[str, Callable[..., None]] = {
        "publish": lambda groups: site.publish(groups, is_kept=True),
        "publish loose": lambda groups: site.publish(groups, is_kept=False),
        "arrive": site.arrive,
        "flush": site.gathering.flush,
        "enter": lambda index, groups: clients[index].enter(groups),
        "stall": lambda index: setattr(clients[index], "is_slow", True),
        "read on": lambda index: clients[index].read_on(),
        "come back": lambda index, which: clients[index].come_back(which),
    }
    for name, *arguments in taken:
        do[name](*arguments)
    while any(site.coming.values()):
        site.arrive(0)
    site.gathering.flush()
    for client in clients:
        client.read_on()


def check(first: Any, taken: list[Any]) -> None:
    """Take the steps with three clients, who are in the groups of *first* when it begins."""
    site = Site()
    site.clients = [Client(site) for _ in range(3)]
    for client, groups in zip(site.clients, first, strict=True):
        client.enter(groups)
    take_steps(site, taken)
    for client in site.clients:
        client.check()
        client.check_ids()
    for audience in site.audiences:
        assert audience.live.keys() == audience.members
        assert audience.place.positions == site.positions(audience.groups)


@given(first=st.tuples(any_groups, any_groups, any_groups), taken=st.lists(steps, max_size=60))
@settings(max_examples=EXAMPLES)
def test_all_that_is_for_a_client_comes_once(first: Any, taken: list[Any]) -> None:
    """By any way of three clients through the groups, and of events to them."""
    check(first, taken)


@given(
    first=st.tuples(any_groups, any_groups, any_groups),
    taken=st.lists(st.one_of(moves, copies, copies), max_size=20),
)
@settings(max_examples=EXAMPLES)
def test_groups_change_between_the_copies_of_an_event(first: Any, taken: list[Any]) -> None:
    """Who has it already does not get it again, and who has not is not kept from it."""
    check(first, [("publish", frozenset(GROUPS)), *taken])
