"""The machine's metrics."""

from types import SimpleNamespace

import psutil
import pytest

from demo_project.metrics import views
from demo_project.metrics.sampling import Sampler
from tests.clients import until


def test_sampler_reads_this_machine():
    """A sample has each core's use in percent, and memory as the operating system counts it."""
    sample = Sampler().take()
    assert len(sample["cores"]) == psutil.cpu_count()
    assert all(0 <= percent <= 100 for percent in sample["cores"])
    assert 0 < sample["memory"]["used"] < sample["memory"]["total"]
    assert sample["memory"]["total"] == psutil.virtual_memory().total
    assert sample["server"]["threads"] >= 1


def test_sampler_leaves_out_the_loopback(monkeypatch):
    """What the machine sends itself is not on the network: it would be counted both ways."""
    flags = {"lo": "up,loopback,running", "eth0": "up,broadcast,running"}
    bytes_so_far = {"lo": (0, 0), "eth0": (0, 0)}

    def counters(pernic):
        return {
            name: SimpleNamespace(bytes_recv=received, bytes_sent=sent)
            for name, (received, sent) in bytes_so_far.items()
        }

    interfaces = {name: SimpleNamespace(flags=text) for name, text in flags.items()}
    monkeypatch.setattr(psutil, "net_if_stats", lambda: interfaces)
    monkeypatch.setattr(psutil, "net_io_counters", counters)
    sampler = Sampler()
    bytes_so_far.update(lo=(1_000_000, 1_000_000), eth0=(3000, 1000))
    network = sampler.take()["network"]
    assert network["received"] / network["sent"] == pytest.approx(3)
    del interfaces["eth0"]
    assert sampler.take()["network"] is None


async def test_stream_samples_until_its_page_is_closed(asgi, monkeypatch):
    """Samples come until the page is closed; then it is no watcher any more."""
    monkeypatch.setattr(views, "INTERVAL_SECONDS", 0.001)
    first = await asgi.open("/metrics/stream/")
    assert (await first.next_event()).json()["watchers"] == 1
    second = await asgi.open("/metrics/stream/")
    event = await second.next_event()
    assert (event.event, event.json()["watchers"]) == ("sample", 2)
    second.disconnect()
    await until(lambda: len(views.watchers) == 1)
    await first.disconnected()
    assert not views.watchers
