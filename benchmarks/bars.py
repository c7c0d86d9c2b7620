"""What the package promises, and whether a run has kept it: what ``--check`` prints."""

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Bar", "check"]


class Bar(NamedTuple):
    """
    One promise.

    Attributes:
        what: What was measured, in words.
        value: What came out.
        least: The least that it has to be; None if there is no such limit.
        most: The most that it may be; None if there is no such limit.
    """

    what: str
    value: float
    least: float | None = None
    most: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the value is within the limits."""
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )

    def __str__(self) -> str:
        limits = (("at least", self.least), ("at most", self.most))
        demanded = ", ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)
        return (
            f"{self.what}: {self.value:.4g}, {demanded}, {'passed' if self.is_met else 'FAILED'}"
        )


def check(bars: Sequence[Bar]) -> int:
    """Print each of *bars* as a line; return the exit status: 1 if one is not met."""
    for bar in bars:
        print(bar)
    return 0 if all(bar.is_met for bar in bars) else 1
