"""
What history costs: two servers beside each other, which differ in nothing else.

Both are open at the same time, on the same core, each with all its streams. They take turns of
half a second, the first in one round the last in the next, and a ratio is taken within each
round. So a machine that is slower for a while is slower for both, and a difference of a few per
cent can be seen. The one whose turn it is not rests.
"""

import contextlib
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.load import LoadClient
from benchmarks.measure import Plan, Session, measure_paced, paced_events
from benchmarks.process import ServerProcess
from benchmarks.report import Spread

__all__ = ["LABELS", "PAIRS", "Cost", "measure_pair", "summarize"]

#: Each pair by the name of the one with history; the other one keeps none.
PAIRS = {"django_sse": "django_sse-no-history", "django_sse-redis": "django_sse-redis-no-history"}
LABELS = {
    "django_sse": "in-memory layer, MemoryStore",
    "django_sse-redis": "Redis layer, RedisStore",
}

_FAULTS = ("lost", "repeated", "reordered")

Round = dict[str, dict[str, Any]]


class Cost(NamedTuple):
    """What history costs: ratios of the server with it to the one without, over all rounds."""

    rate: Spread
    cpu: Spread
    faults: int


def measure_pair(name: str, core: int, directory: Path, plan: Plan) -> list[Round]:
    """Measure the server *name* and the one without history in turns; return the rounds."""
    with contextlib.ExitStack() as stack:
        sessions = {}
        for each in (PAIRS[name], name):
            server = stack.enter_context(ServerProcess(each, core, directory))
            load = LoadClient(server.port, server.headers)
            stack.callback(load.close)
            load.open(plan.streams)
            sessions[each] = Session(server, load)
            sessions[each].warm_up()
        count = max(paced_events(each, plan.round_seconds) for each in sessions.values())
        rounds = []
        for number in range(plan.rounds):
            order = list(sessions) if number % 2 else list(reversed(sessions))
            rounds.append({each: measure_paced(sessions[each], count) for each in order})
        return rounds


def summarize(runs: list[dict[str, list[Round]]]) -> dict[str, Cost]:
    """Return the cost for each pair that was measured."""
    return {name: _cost(name, [r for run in runs for r in run[name]]) for name in runs[0]}


def _cost(name: str, rounds: list[Round]) -> Cost:
    other = PAIRS[name]

    def ratio(key: str) -> Spread:
        return Spread.of([round_[name][key] / round_[other][key] for round_ in rounds])

    return Cost(
        rate=ratio("deliveries_per_second"),
        cpu=ratio("cpu_us_per_delivery"),
        faults=sum(round_[name][fault] for round_ in rounds for fault in _FAULTS),
    )
