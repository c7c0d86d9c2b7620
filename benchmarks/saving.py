"""
Saving a model that publishes: beside a plain ``save()``, on each database.

``make bench BENCH=saving`` runs it; with ``BENCH_ARGS=--quick`` it checks that all of it works.
It needs Linux and two cores that nothing else uses; with PostgreSQL, and with Redis, it also
measures there.

What is measured
    One process, and two models with the same columns, of which one has a ModelPublisher. A row of
    each is saved in turn, in autocommit, the first in one pair the second in the next, each save
    with a changed value: what one ``save()`` takes until it returns, the event's place in the
    history included. A thread of the same process hands the event to the channel layer at the same
    time, on the second core if that is free.

    Both SQLite and PostgreSQL are as a project has them by default: each commit is on disk.

What is reported
    The median of a run's saves of either model, and their ratio, which is taken within each run.
    Of the runs the median is given, with the least and the greatest.
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import options, report, services
from benchmarks.report import Spread, cell
from benchmarks.servers import django_project

__all__ = ["LABELS", "ratio"]

LABELS = {
    "sqlite-memory": "SQLite, MemoryStore",
    "sqlite-redis": "**SQLite, RedisStore**",
    "postgresql-memory": "PostgreSQL, MemoryStore",
    "postgresql-redis": "**PostgreSQL, RedisStore**",
}

# What the package promises: see --check.
_TIMES_PLAIN = 1.5

_PAIRS, _QUICK_PAIRS = 1_000, 30

Run = dict[str, dict[str, float]]


def main() -> int:
    """Run the benchmark and write its report. Return the exit status."""
    chosen = _parse()
    about = options.begin(chosen)
    with tempfile.TemporaryDirectory(prefix="django-sse-saving-") as path:
        try:
            runs = _measure(chosen, Path(path))
        finally:
            if any(name.endswith("redis") for name in chosen.ways):
                services.forget_redis_keys(Path(path))
    _write(chosen, about, runs)
    return _check(runs) if chosen.check else 0


def _parse() -> argparse.Namespace:
    parser = options.make_parser(
        "Saving a model that publishes.",
        runs=7,
        check=f"a save() takes at most {_TIMES_PLAIN} times a plain one",
    )
    parser.add_argument("--pairs", type=int, help="saves of each model in a run (1000; quick 30)")
    parser.add_argument(
        "--ways", nargs="+", choices=LABELS, default=list(LABELS), metavar="NAME",
        help=f"some of: {' '.join(LABELS)}",
    )  # fmt: skip
    chosen = options.parse(parser)
    chosen.pairs = chosen.pairs or (_QUICK_PAIRS if chosen.quick else _PAIRS)
    problems = {"redis": services.redis_problem(), "postgresql": services.postgresql_problem()}
    for name, problem in problems.items():
        if problem and any(name in way for way in chosen.ways):
            chosen.ways = [way for way in chosen.ways if name not in way]
            print(f"Without {name}: {problem}")
    if not chosen.ways:
        sys.exit("There is nothing to measure.")
    return chosen


def _measure(chosen: argparse.Namespace, directory: Path) -> list[Run]:
    with contextlib.ExitStack() as stack:
        if any("postgresql" in way for way in chosen.ways):
            stack.enter_context(services.temporary_postgresql(directory))
        # Last: the connections of this process are closed before the database is taken away.
        models = _set_up(chosen.ways, directory)
        stack.callback(_close_connections)
        os.sched_setaffinity(0, chosen.cores)
        runs = []
        for number in range(chosen.runs):
            turn = number % len(chosen.ways)
            order = chosen.ways[turn:] + chosen.ways[:turn]
            runs.append({way: _pairs(way, models, chosen.pairs) for way in order})
            print(f"run {number + 1}: {_line(runs[-1])}", flush=True)
        return runs


def _set_up(ways: list[str], directory: Path) -> tuple[Any, Any]:
    """Set Django up; return the model that publishes, and the one that does not."""
    stores: dict[str, Any] = {"memory": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    if any("redis" in way for way in ways):
        stores["redis"] = services.redis_layer("core", directory, "saving")
    django_project.configure(
        directory / "saving.sqlite3",
        "benchmarks.servers.django_sse_handler_urls",
        "channels",
        "django_sse",
        CHANNEL_LAYERS=stores,
    )
    from django.db import connections

    if any("postgresql" in way for way in ways):
        entry = {**connections.settings["default"], **services.postgresql_database(directory)}
        connections.settings["postgresql"] = entry
    models = _make_models()
    for alias in connections.settings:
        with connections[alias].schema_editor() as editor:
            for model in models:
                editor.create_model(model)
    return models


def _make_models() -> tuple[Any, Any]:
    from django.db import models

    from django_sse import ModelPublisher, register

    class Order(models.Model):
        status = models.CharField(max_length=20)
        customer = models.CharField(max_length=50, default="somebody")
        total = models.DecimalField(max_digits=8, decimal_places=2, default=10)
        quantity = models.IntegerField(default=1)
        ordered_at = models.DateTimeField(auto_now_add=True)
        changed_at = models.DateTimeField(auto_now=True)
        note = models.TextField(default="")

        class Meta:
            abstract = True
            app_label = "benchmarks"

        def __str__(self) -> str:
            return self.status

    class PlainOrder(Order):
        class Meta:
            app_label = "benchmarks"

    class PublishedOrder(Order):
        class Meta:
            app_label = "benchmarks"

    @register(PublishedOrder)
    class OrderPublisher(ModelPublisher):
        fields = ["id", "status", "total", "changed_at"]

        def get_groups(self, instance: Any) -> list[str]:
            return [f"customer.{instance.customer}"]

    return PublishedOrder, PlainOrder


def _pairs(way: str, models: tuple[Any, Any], count: int) -> dict[str, float]:
    from django.test import override_settings

    database, _, store = way.partition("-")
    alias = "default" if database == "sqlite" else database
    with override_settings(DJANGO_SSE={"CHANNEL_LAYER": store}):
        rows = [model.objects.using(alias).create(status="new") for model in models]
        times: list[list[float]] = [[], []]
        for number in range(count + 20):
            for which in (0, 1) if number % 2 else (1, 0):
                row = rows[which]
                row.status = str(number)
                begin = time.perf_counter()
                row.save()
                times[which].append(time.perf_counter() - begin)
    published, plain = (statistics.median(one[20:]) * 1e6 for one in times)
    return {"published_us": published, "plain_us": plain, "ratio": published / plain}


def _close_connections() -> None:
    from django.db import connections

    connections.close_all()


def _line(run: Run) -> str:
    return ", ".join(f"{way} {run[way]['ratio']:.2f}" for way in LABELS if way in run)


def ratio(way: str, runs: list[Run]) -> Spread:
    """Return the ratio to a plain save(), taken within each run."""
    return Spread.of([run[way]["ratio"] for run in runs])


def _write(chosen: argparse.Namespace, about: dict[str, Any], runs: list[Run]) -> None:
    head = ["", "plain save(), µs", "with a publisher, µs", "times the plain one"]
    rows = [
        [
            LABELS[way],
            cell(Spread.of([run[way]["plain_us"] for run in runs]), "{:.0f}".format),
            cell(Spread.of([run[way]["published_us"] for run in runs]), "{:.0f}".format),
            cell(ratio(way, runs), "{:.2f}".format),
        ]
        for way in LABELS
        if way in runs[0]
    ]
    text = "\n\n".join(
        [
            report.table(head, rows),
            f"{chosen.pairs} saves of either model in turn; {report.of_runs(len(runs))}.",
            report.conditions(about),
        ]
    )
    report.write("saving", text, {"machine": about, "runs": runs}, chosen.output)


def _check(runs: list[Run]) -> int:
    """Print what was demanded; return the exit status."""
    passed = True
    for way in runs[0]:
        median = ratio(way, runs).median
        holds = median <= _TIMES_PLAIN
        passed = passed and holds
        print(
            f"{way}: {median:.2f} times a plain save() (at most {_TIMES_PLAIN}):"
            f" {'passed' if holds else 'FAILED'}"
        )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
