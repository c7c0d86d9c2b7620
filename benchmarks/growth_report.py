"""From the runs of the growth benchmark to medians, tables and plots."""

import statistics
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.report import Spread, cell, rounded

__all__ = [
    "FLOOR",
    "GROUPS",
    "OURS",
    "STREAMS",
    "Run",
    "beyond_floor",
    "cheapest",
    "cost",
    "faults",
    "growth",
    "plot",
    "table",
]

FLOOR, OURS = "floor", "django_sse-direct"
STREAMS, GROUPS = "streams", "groups"

#: The rounds of each server, by axis and size.
Run = dict[str, dict[int, dict[str, list[dict[str, Any]]]]]

# Where one end of an axis is so many times the other, it is logarithmic.
_LOG_FROM = 20

_NAMES = {FLOOR: "the floor", OURS: "django_sse"}
_COLORS = {FLOOR: "#8f9aa5", OURS: "#2a78b5"}


def cost(rounds: list[dict[str, Any]]) -> float:
    """Return the microseconds of CPU time a delivery: the median of the *rounds*."""
    return statistics.median(each["cpu_us_per_delivery"] for each in rounds)


def _rate(rounds: list[dict[str, Any]]) -> float:
    return statistics.median(each["deliveries_per_second"] for each in rounds)


def faults(rounds: list[dict[str, Any]]) -> int:
    """Return how many deliveries were lost, repeated or out of order."""
    return sum(each[fault] for each in rounds for fault in ("lost", "repeated", "reordered"))


def _costs(runs: list[Run], axis: str, name: str, size: int) -> Spread:
    return Spread.of([cost(run[axis][size][name]) for run in runs])


def _rates(runs: list[Run], axis: str, name: str, size: int) -> Spread:
    return Spread.of([_rate(run[axis][size][name]) for run in runs])


def growth(runs: list[Run], axis: str, name: str, size: int) -> Spread:
    """Return how many times a delivery costs at *size* what it costs at the least size."""
    least = min(runs[0][axis])
    return Spread.of([_growth(run, axis, name, size, least) for run in runs])


def _growth(run: Run, axis: str, name: str, size: int, least: int) -> float:
    return cost(run[axis][size][name]) / cost(run[axis][least][name])


def cheapest(runs: list[Run], axis: str) -> int:
    """Return the size at which a delivery costs this package least."""
    return min(runs[0][axis], key=lambda size: _costs(runs, axis, OURS, size).median)


def beyond_floor(runs: list[Run], axis: str, size: int, least: int) -> Spread:
    """Return the growth of this package from the size *least* to *size*, of the floor's."""
    return Spread.of(
        [
            _growth(run, axis, OURS, size, least) / _growth(run, axis, FLOOR, size, least)
            for run in runs
        ]
    )


def table(axis: str, runs: list[Run]) -> str:
    """Return a line for each size of *axis*, as a Markdown table."""
    least = min(runs[0][axis])
    head = [
        axis,
        "floor: µs a delivery",
        f"times that of {least:,}",
        "django_sse: µs a delivery",
        f"times that of {least:,}",
        "growth, of the floor's",
        "floor: deliveries a second",
        "django_sse: deliveries a second",
    ]
    return report.table(head, (_cells(axis, size, runs) for size in runs[0][axis]))


def _cells(axis: str, size: int, runs: list[Run]) -> list[str]:
    cells = [f"{size:,}"]
    for name in (FLOOR, OURS):
        cells.append(cell(_costs(runs, axis, name, size), "{:.1f}".format))
        cells.append(cell(growth(runs, axis, name, size), "{:.2f}".format))
    beyond = beyond_floor(runs, axis, size, min(runs[0][axis]))
    cells.append(cell(beyond, "{:.2f}".format))
    cells += [cell(_rates(runs, axis, name, size), rounded) for name in (FLOOR, OURS)]
    return cells


def plot(runs: list[Run], paths: list[Path]) -> None:
    """Draw the cost of a delivery and the rate, by streams and by groups."""
    if (plt := report.pyplot("growth")) is None:
        return
    axes_of = [axis for axis in (STREAMS, GROUPS) if runs[0][axis]]
    figure, panels = plt.subplots(
        2, len(axes_of), sharex="col", squeeze=False, figsize=(11, 6),
        layout="constrained",
    )  # fmt: skip
    rows = ((_costs, "CPU, µs a delivery"), (_rates, "deliveries a second"))
    for row, (spread_of, label) in enumerate(rows):
        for column, axis in enumerate(axes_of):
            panel = panels[row][column]
            for name in (FLOOR, OURS):
                sizes = list(runs[0][axis])
                spreads = [spread_of(runs, axis, name, size) for size in sizes]
                _draw(panel, sizes, spreads, name)
            _label(panel, axis if row else "", "" if column else label)
            panel.set_xlim(min(runs[0][axis]) / 1.5, max(runs[0][axis]) * 1.5)
    panels[0][0].legend(frameon=False)
    figure.suptitle(f"More streams of one group, and more groups: {report.of_runs(len(runs))}")
    for path in paths:
        figure.savefig(path, dpi=144, metadata={"Date": None} if path.suffix == ".svg" else {})
    plt.close(figure)


def _draw(panel: Any, sizes: list[int], spreads: list[Spread], name: str) -> None:
    around = [
        [spread.median - spread.least for spread in spreads],
        [spread.most - spread.median for spread in spreads],
    ]
    panel.errorbar(
        sizes,
        [spread.median for spread in spreads],
        yerr=around,
        label=_NAMES[name],
        color=_COLORS[name],
        marker="o",
        markersize=4,
        capsize=3,
    )


def _label(panel: Any, below: str, beside: str) -> None:
    panel.set_xscale("log")
    least, most = panel.dataLim.y0, panel.dataLim.y1
    if least > 0 and most / least > _LOG_FROM:
        panel.set_yscale("log")
    else:
        panel.set_ylim(bottom=0)
    panel.set_xlabel(below)
    panel.set_ylabel(beside)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color="#e3e7eb")
    panel.set_axisbelow(True)
