"""The command line that the benchmarks share."""

import argparse
import os
import sys
from pathlib import Path

from benchmarks import machine
from benchmarks.process import ROOT

__all__ = ["begin", "make_parser", "parse"]


def make_parser(description: str, *, runs: int, check: str) -> argparse.ArgumentParser:
    """
    Return a parser with the common options.

    Args:
        description: What is measured.
        runs: How often, if it is not said.
        check: What ``--check`` demands.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("What is measured and what measures need a core each; there is only one.")
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="small and once: only to try it out")
    parser.add_argument("--runs", type=int, help=f"how many runs ({runs}; with --quick 1)")
    parser.add_argument(
        "--cores", nargs=2, type=int, default=(cores[1], cores[0]), metavar=("MEASURED", "CLIENT"),
        help="the two cores (the second and the first of those that this process may use)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="DIRECTORY",
        help="write everything there; else docs/ and benchmarks/results/, or with --quick build/",
    )  # fmt: skip
    parser.add_argument(
        "--check", action="store_true", help=f"fail unless {check}".replace("%", "%%")
    )
    parser.set_defaults(all_runs=runs)
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line, and fill in what depends on ``--quick``."""
    options = parser.parse_args()
    if options.runs is None:
        options.runs = 1 if options.quick else options.all_runs
    if options.quick and options.output is None:
        options.output = ROOT / "build" / "benchmarks"
    return options


def begin(options: argparse.Namespace) -> dict[str, object]:
    """Pin this process to its core; return the machine's description for the report."""
    os.sched_setaffinity(0, {options.cores[1]})
    about = machine.describe()
    if about["load_average"] > 0.3:
        print(f"The machine is busy (load {about['load_average']}): the figures will show it.")
    return about
