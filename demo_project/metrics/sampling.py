"""What the machine is doing, read from the operating system."""

import time
from typing import Any

import psutil


class Sampler:
    """Turns the machine's counters into rates: what happened since the sample before."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._read()

    def _read(self) -> None:
        self._time = time.monotonic()
        self._cores = psutil.cpu_times(percpu=True)
        self._network = _traffic()

    def take(self) -> dict[str, Any]:
        """Return the machine's state now, and the rates since the last call."""
        then, cores, network = self._time, self._cores, self._network
        self._read()
        seconds = max(self._time - then, 0.001)
        memory = psutil.virtual_memory()
        return {
            "cores": [_busy(a, b) for a, b in zip(cores, self._cores, strict=True)],
            "memory": {"used": memory.total - memory.available, "total": memory.total},
            "load": psutil.getloadavg(),
            # None where there is no network but the loopback, as in some containers.
            "network": {
                way: max(0, total - network[way]) / seconds
                for way, total in self._network.items()
                if way in network
            }
            or None,
            "server": {
                "memory": self._process.memory_info().rss,
                "threads": self._process.num_threads(),
            },
        }


def _traffic() -> dict[str, int]:
    """Return the bytes so far, but for those from the machine to itself: they count both ways."""
    interfaces, counters = psutil.net_if_stats(), psutil.net_io_counters(pernic=True)
    others = [
        counted
        for name, counted in counters.items()
        if name in interfaces and "loopback" not in interfaces[name].flags
    ]
    if not others:
        return {}
    return {
        "received": sum(counted.bytes_recv for counted in others),
        "sent": sum(counted.bytes_sent for counted in others),
    }


def _busy(before, after) -> float:
    """Return the percentage of a core's time between two readings that was not idle."""
    total = sum(after[:8]) - sum(before[:8])  # What follows is part of the first eight.
    idle = sum(getattr(after, n, 0) - getattr(before, n, 0) for n in ("idle", "iowait"))
    return round(100 * max(0.0, total - idle) / total, 1) if total > 0 else 0.0
