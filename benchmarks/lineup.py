"""Which servers a benchmark measures."""

import argparse
from collections.abc import Sequence

from benchmarks import peers

__all__ = ["add_option", "choose", "in_turn"]


def add_option(parser: argparse.ArgumentParser, usual: Sequence[str]) -> None:
    """Add ``--servers``; without it those of *usual* are measured."""
    parser.add_argument(
        "--servers", nargs="+", choices=peers.LABELS, default=list(usual), metavar="NAME",
        help=f"some of: {' '.join(peers.LABELS)}",
    )  # fmt: skip


def choose(chosen: argparse.Namespace, checked: str, parser: argparse.ArgumentParser) -> None:
    """Leave out what is not here, and see that what ``--check`` is about is there."""
    chosen.servers = peers.those_here(name for name in peers.LABELS if name in chosen.servers)
    if not chosen.servers:
        parser.error("There is nothing to measure.")
    if chosen.check and checked not in chosen.servers:
        parser.error(f"--check is about {checked}: measure it.")


def in_turn(names: Sequence[str], number: int) -> list[str]:
    """Return the order of *names* in the run of that *number*: another one begins each time."""
    turn = number % len(names)
    return [*names[turn:], *names[:turn]]
