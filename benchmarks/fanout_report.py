"""From the runs of the fan-out benchmark to medians, tables and a plot."""

from typing import NamedTuple

from benchmarks import pairs, report
from benchmarks.bars import Bar
from benchmarks.peers import FLOOR, LABELS, PEER
from benchmarks.report import Spread, cell, ratio_of, rounded
from benchmarks.turns import Run

__all__ = [
    "OWN_IDS",
    "Row",
    "bars",
    "cost_table",
    "summarize",
    "table",
]

#: The part of a server's result that measure_bursts_with_own_ids() gives.
OWN_IDS = "burst_with_own_ids"

_PARTS = ("paced", "burst", OWN_IDS)
_FAULTS = ("lost", "repeated", "reordered")


class Row(NamedTuple):
    """One server over all runs."""

    paced: Spread
    cpu: Spread
    burst: Spread
    own_ids: Spread | None
    to_floor: Spread | None
    to_peer: Spread | None
    faults: dict[str, int]
    burst_lost: float


def summarize(runs: list[Run]) -> dict[str, Row]:
    """Return a row for each server; a ratio is taken within each run, then over the runs."""
    return {name: _summarize(name, runs) for name in LABELS if name in runs[0]}


def _summarize(name: str, runs: list[Run]) -> Row:
    def spread(part: str, key: str) -> Spread:
        return Spread.of([run[name][part][key] for run in runs])

    bursts = [run[name]["burst"] for run in runs]
    has_own_ids = OWN_IDS in runs[0][name]
    return Row(
        paced=spread("paced", "deliveries_per_second"),
        cpu=spread("paced", "cpu_us_per_delivery"),
        burst=spread("burst", "deliveries_per_second"),
        own_ids=spread(OWN_IDS, "deliveries_per_second") if has_own_ids else None,
        to_floor=ratio_of(runs, name, FLOOR),
        to_peer=ratio_of(runs, name, PEER),
        faults={
            fault: sum(run[name]["paced"][fault] for run in runs)
            for fault in ("lost", "repeated", "reordered")
        },
        burst_lost=sum(b["lost"] for b in bursts) / sum(b["expected"] for b in bursts),
    )


def bars(runs: list[Run]) -> list[Bar]:
    """Return what the package promises of what was measured."""
    us, daphne = "django_sse", "django_sse-daphne"
    promises = [
        (us, "floor", "paced", "paced", 0.7),
        (us, PEER, "paced", "paced", 7),
        (us, "sse-starlette", "paced", "paced", 3),
        (us, "better-sse", "paced", "paced", 1.5),
        (us, "nchan", "paced", "paced", 0.75),
        (daphne, "django-eventstream-daphne", "paced", "paced", 5),
        (us, "floor", "burst", "burst", 20),
        (us, "floor", OWN_IDS, "burst", 8),
    ]
    found = []
    for name, other, part, to_part, least in promises:
        if part in runs[0].get(name, {}):
            ratio = ratio_of(runs, name, other, part, to_part)
            what = f"{name}, {part.replace('_', ' ')}, times {other}"
            found += [Bar(what, ratio.median, least=least)] if ratio else []
    for name in (us, daphne):
        parts = [run[name][p] for run in runs if name in run for p in run[name] if p in _PARTS]
        faults = sum(part[fault] for part in parts for fault in _FAULTS)
        found += [Bar(f"{name}, lost, repeated or reordered", faults, most=0)] if parts else []
    return found


def table(rows: dict[str, Row]) -> str:
    """Return the rows as a Markdown table."""
    head = [
        "",
        "deliveries a second, paced",
        "of the floor",
        "times django-eventstream",
        "server CPU, µs a delivery",
        "lost, repeated, reordered",
        "burst: deliveries a second",
        "burst: lost",
        "burst, ids that differ",
    ]
    return report.table(head, (_cells(name, row) for name, row in rows.items()))


def _cells(name: str, row: Row) -> list[str]:
    return [
        LABELS[name],
        cell(row.paced, rounded),
        cell(row.to_floor, "{:.0%}".format),
        cell(row.to_peer, "{:.1f}".format),
        cell(row.cpu, "{:.1f}".format),
        ", ".join(map(str, row.faults.values())),
        cell(row.burst, rounded),
        f"{row.burst_lost:.0%}" if row.burst_lost else "0",
        cell(row.own_ids, rounded),
    ]


def cost_table(costs: dict[str, pairs.Cost]) -> str:
    """Return the costs of history as a Markdown table."""
    head = ["with history, of without", "deliveries a second", "server CPU a delivery"]
    rows = [
        [pairs.LABELS[name], cell(cost.rate, "{:.0%}".format), cell(cost.cpu, "{:.0%}".format)]
        for name, cost in costs.items()
    ]
    return report.table(head, rows)
