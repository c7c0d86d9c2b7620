"""From runs to medians, and from those to the page of the documentation and its JSON."""

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.process import ROOT

__all__ = [
    "Spread",
    "cell",
    "conditions",
    "fill_block",
    "images_directory",
    "of_runs",
    "pyplot",
    "ratio_of",
    "rounded",
    "table",
    "write",
]


class Spread(NamedTuple):
    """The median of the runs, and the least and greatest of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


def ratio_of(
    runs: Sequence[dict[str, Any]],
    name: str,
    other: str,
    part: str = "paced",
    to_part: str = "paced",
    key: str = "deliveries_per_second",
) -> Spread | None:
    """
    Return the ratio of the servers *name* and *other*, taken within each run.

    None if one of them was not measured.
    """
    if not (part in runs[0].get(name, {}) and to_part in runs[0].get(other, {})):
        return None
    # A server that has lost everything is infinitely slow.
    return Spread.of([run[name][part][key] / max(run[other][to_part][key], 1e-9) for run in runs])


def cell(spread: Spread | None, write: Callable[[float], str]) -> str:
    """Return a table's cell: the median, and the least and greatest if they look different."""
    if spread is None:
        return ""
    median, least, most = map(write, spread)
    return median if least == most else f"{median} ({least} to {most})"


def rounded(value: float) -> str:
    """Write a rate: from a thousand on in whole hundreds."""
    return f"{round(value, -2 if value >= 1000 else 0):,.0f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines).replace("|  |", "| |")


def of_runs(count: int, what: str = "runs") -> str:
    """Return what a figure is that comes from *count* runs."""
    return "one run" if count == 1 else f"the median of {count} {what}, and the least and greatest"


def conditions(about: dict[str, Any]) -> str:
    """Return what the figures hold for: the machine, the day and the versions."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{about['cpu']}, {about['cores']} cores, {about['memory_gb']} GB, {about['kernel']},"
        f" {about['python']}; {about['date'][:10]}, commit {about['commit']}. {versions}."
    )


def write(
    name: str, text: str, content: dict[str, Any], output: Path | None, *, figure: str = ""
) -> None:
    """
    Print the report of the benchmark *name*, and write it.

    Args:
        name: Of its block in docs/benchmarks.md and of its JSON file.
        text: The tables in Markdown, and what they hold for.
        content: All figures.
        output: A directory for all of it; None is docs/ and benchmarks/results/.
        figure: What precedes *text* in the documentation.
    """
    print(f"\n{text}\n")
    data = output or ROOT / "benchmarks" / "results"
    data.mkdir(parents=True, exist_ok=True)
    if output is None:
        fill_block(ROOT / "docs" / "benchmarks.md", name, f"{figure}\n\n{text}")
    else:
        (output / f"{name}.md").write_text(f"{text}\n")
    (data / f"{name}.json").write_text(json.dumps(content, indent=1, default=str) + "\n")
    print(f"Written: {data / name}.json")


def images_directory(output: Path | None) -> Path:
    """Return where plots go."""
    directory = output or ROOT / "docs" / "images"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def pyplot(benchmark: str) -> Any:
    """Return matplotlib's pyplot, ready to draw; None, and say so, where it is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("Nothing is drawn: matplotlib is not installed.")
        return None
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    # The text of an SVG stays text, and two runs of the same figures give the same file.
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": benchmark, "font.size": 10})
    return plt


def fill_block(page: Path, name: str, text: str) -> None:
    """Put *text* between the marks of the block *name* in the Markdown *page*."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found_begin, rest = page.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"{page} has no block between {begin} and {end}.")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")
