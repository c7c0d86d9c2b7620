"""Which servers a benchmark measures, and in what order."""

import argparse
from collections.abc import Sequence

from benchmarks import services
from benchmarks.fanout_report import LABELS, ON_REDIS

__all__ = ["LABELS", "add_option", "choose", "in_turn", "word"]


def add_option(parser: argparse.ArgumentParser, usual: Sequence[str]) -> None:
    """Add ``--servers``; without it those of *usual* are measured that there are."""
    parser.add_argument(
        "--servers", nargs="+", choices=LABELS, metavar="NAME",
        default=[name for name in usual if name in LABELS],
        help=f"some of: {' '.join(LABELS)}",
    )  # fmt: skip


def choose(names: Sequence[str], *needed: str) -> list[str]:
    """Return *needed* and *names*, in the order of LABELS, without what the machine lacks."""
    chosen = [name for name in LABELS if name in names or name in needed]
    if any(name in ON_REDIS for name in chosen) and (problem := services.redis_problem()):
        print(f"Without what needs Redis: {problem}")
        chosen = [name for name in chosen if name not in ON_REDIS]
    return chosen


def in_turn(names: Sequence[str], number: int) -> list[str]:
    """Return the order of *names* in the run of that *number*: another one begins each time."""
    turn = number % len(names)
    return [*names[turn:], *names[:turn]]


def word(passed: bool) -> str:
    """Return the verdict."""
    return "passed" if passed else "FAILED"
