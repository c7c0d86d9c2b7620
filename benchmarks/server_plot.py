"""A plot of servers beside each other: deliveries a second, and what each costs."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks import peers, report
from benchmarks.report import Spread, rounded

__all__ = ["plot"]


def plot(
    benchmark: str, rows: Mapping[str, tuple[Spread, Spread]], title: str, output: Path | None
) -> None:
    """
    Draw the paced rate and the CPU time of each server, with the spread of the runs.

    Args:
        benchmark: The name of the files.
        rows: Both for each server, by its name.
        title: Stands above.
        output: A directory; None is that of the documentation's images.
    """
    if (plt := report.pyplot(benchmark)) is None:
        return
    names = list(rows)[::-1]
    figure, axes = plt.subplots(
        1, 2, sharey=True, figsize=(11, 0.5 * len(names) + 1.6), layout="constrained"
    )
    panels = (
        ("deliveries a second, paced (more is better)", rounded),
        ("server CPU, µs a delivery (less is better)", "{:.1f}".format),
    )
    for column, (axis, (label, write)) in enumerate(zip(axes, panels, strict=True)):
        spreads = [rows[name][column] for name in names]
        medians = [spread.median for spread in spreads]
        around = [
            [spread.median - spread.least for spread in spreads],
            [spread.most - spread.median for spread in spreads],
        ]
        bars = axis.barh(
            [peers.LABELS[name].replace("**", "") for name in names],
            medians,
            xerr=around,
            color=[_color(name) for name in names],
            error_kw={"ecolor": "#1f2933", "capsize": 3, "linewidth": 1},
        )
        # Beside the end of the spread, not of the bar: they would lie over each other.
        texts = [write(median) for median in medians]
        axis.bar_label(bars, texts, padding=5)
        axis.set_xlabel(label)
        axis.set_xlim(0, 1.2 * max(spread.most for spread in spreads))
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
        axis.locator_params(axis="x", nbins=6)
    axes[0].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    figure.suptitle(title)
    images = report.images_directory(output)
    for path in (images / f"{benchmark}.png", images / f"{benchmark}.svg"):
        figure.savefig(path, dpi=144, metadata={"Date": None} if path.suffix == ".svg" else {})
    plt.close(figure)


def _color(name: str) -> str:
    if name in (peers.C_FLOOR, peers.FLOOR):
        return "#c8ccd0"
    return "#2a78b5" if name.startswith("django_sse") else "#8f9aa5"
