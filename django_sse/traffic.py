"""How many events come of each group, lately."""

from collections import defaultdict
from collections.abc import Callable

__all__ = ["Traffic"]

_BUCKET_SECONDS = 5.0


class Traffic:
    """
    Counts events by group, for the last five to ten seconds, or since somebody asked before.

    To count is ``traffic.counts[group] += 1`` and no more: it is done for each event.

    Args:
        clock: Returns the time in seconds.

    Attributes:
        counts: Those of a while.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = self._before_began = clock()
        self._before: dict[str, int] = {}
        self.counts: defaultdict[str, int] = defaultdict(int)

    def rates(self) -> dict[str, float]:
        """Return the events per second of each group of which there were any."""
        now = self._clock()
        seconds = max(now - self._before_began, 0.001)
        sums = dict(self._before)
        for group, count in self.counts.items():
            sums[group] = sums.get(group, 0) + count
        if now - self._began >= _BUCKET_SECONDS:
            self._before, self._before_began = dict(self.counts), self._began
            self.counts.clear()
            self._began = now
        return {group: count / seconds for group, count in sums.items()}
