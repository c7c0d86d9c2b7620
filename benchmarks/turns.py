"""Runs in which servers take turns, in another order each time."""

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Run", "in_turns"]

#: What came out for each server.
Run = dict[str, dict[str, Any]]


def in_turns(
    count: int, names: Sequence[str], measure: Callable[[str], tuple[dict[str, Any], str]]
) -> list[Run]:
    """
    Measure each of *names* in *count* runs; *measure* returns what came out, and that in words.

    A peer that can't be measured is left out of all runs, and why is said. The package itself, and
    the floor, have to do.
    """
    runs: list[Run] = []
    left = list(names)
    for number in range(count):
        turn = number % max(1, len(left))
        results: Run = {}
        for name in left[turn:] + left[:turn]:
            print(f"run {number + 1}: {name} … ", end="", flush=True)
            try:
                results[name], words = measure(name)
            except (RuntimeError, OSError) as error:
                if name.startswith("django_sse") or name == "floor":
                    raise
                left.remove(name)
                words = f"left out: {error}"
            print(words, flush=True)
        runs.append(results)
    return [{name: run[name] for name in left} for run in runs]
