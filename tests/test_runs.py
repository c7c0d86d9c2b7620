"""Runs: events that came in a row are handed out as if one by one."""

from collections.abc import Sequence

from hypothesis import given

from django_sse.batches import Batch
from django_sse.envelope import Delivery, unpack
from django_sse.places import Place
from django_sse.runs import Item, Run, Stretch
from tests.test_places import GROUPS, events, histories, interleaved, of_start, seeds


def runs_of(deliveries: Sequence[Delivery]) -> list[Run]:
    """Return *deliveries* as they are gathered."""
    found: list[Run] = []
    for delivery in deliveries:
        if not (found and found[-1].add(delivery)):
            found.append(Run(delivery))
    return found


def loose(data: str, group: str = "a") -> Delivery:
    """Return an event that is in no history."""
    return unpack({"group": group, "data": data})


def go_through(place: Place, runs: Sequence[Run]) -> list[Stretch]:
    """Return those of *runs* that are new at *place*."""
    return [found for run in runs if (found := place.go_through(run, GROUPS)) is not None]


@given(events=events, seed=seeds)
def test_runs_have_the_ids_of_their_events_taken_one_by_one(
    events: list[frozenset[str]], seed: int
) -> None:
    """However they come mixed, and whatever is known of other groups meanwhile."""
    came = list(interleaved(histories(events), seed))
    one_by_one = of_start()
    expected = [
        Item(delivery, one_by_one.id_line)
        for delivery in came
        if one_by_one.take(delivery, GROUPS)
    ]
    place = of_start()
    stretches = go_through(place, runs_of(came))
    items = [item for stretch in stretches for item in stretch.items]
    assert items == expected
    assert b"".join(stretch.frames for stretch in stretches) == Batch.of(expected).frames
    assert [stretch.id_line for stretch in stretches] == [s.items[-1].id_line for s in stretches]
    assert place.id == one_by_one.id


def test_events_of_one_group_are_one_run() -> None:
    """That is what makes a burst cheap."""
    only_a = [frozenset("a")] * 20
    assert len(runs_of(histories(only_a)["a"])) == 1


def test_run_ends_where_another_group_has_an_event() -> None:
    """Whoever is in both gets them as they came."""
    of = histories([frozenset("a"), frozenset("a"), frozenset("b"), frozenset("a")])
    mixed = [*of["a"][:2], *of["b"], of["a"][2]]
    assert [len(run.deliveries) for run in runs_of(mixed)] == [2, 1, 1]


def test_event_of_several_groups_is_a_run_of_its_own() -> None:
    """Some may have it from another group, but not the events around it."""
    of = histories([frozenset("a"), frozenset("ab"), frozenset("a")])
    assert [len(run.deliveries) for run in runs_of(of["a"])] == [1, 1, 1]


def test_event_without_a_history_ends_a_run_of_those_that_have_one() -> None:
    """It has no id."""
    kept = histories([frozenset("a"), frozenset("a")])["a"]
    runs = runs_of([kept[0], loose("x"), loose("y"), kept[1]])
    assert [len(run.deliveries) for run in runs] == [1, 2, 1]
    stretches = go_through(of_start(), runs)
    assert stretches[1].frames == b"data: x\n\ndata: y\n\n"
    assert stretches[1].id_line == b""


def test_batch_counts_and_tells_its_events() -> None:
    """A stream counts them, whoever joined them."""
    of = histories([frozenset("a"), frozenset("a"), frozenset("b")])
    stretches = go_through(of_start(), runs_of([*of["a"], *of["b"]]))
    batch = Batch(stretches)
    assert batch.count == len(batch.items) == 3
    assert batch.frames == b"".join(item.frame for item in batch.items)
    assert batch.id_line == batch.items[-1].id_line
