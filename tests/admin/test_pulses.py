"""Reports that flow while somebody watches, and only then."""

from typing import Any

import pytest

from django_sse import pulses as pulses_module
from django_sse.exceptions import InvalidGroup
from django_sse.groups import BROADCAST, WATCHERS, check_names, layer_group
from django_sse.hub import get_hub
from django_sse.layers import get_layer
from django_sse.metrics import metrics
from django_sse.pulses import Pulses
from django_sse.registrar import Registrar
from django_sse.reports import Report
from tests.clients import until
from tests.fake_layer import FakeLayer
from tests.registry.conftest import open_many


def pulses_of_this_worker() -> Pulses:
    found = Registrar.of(get_hub()).pulses
    assert found is not None
    return found


async def tell(report: Report) -> None:
    """Be another worker that tells."""
    message = {"type": "sse.report", "report": report.to_dict()}
    await get_layer().group_send(layer_group(WATCHERS), message)


async def test_who_watches_hears_every_worker() -> None:
    """Itself and those that the channel layer reaches, each by its last report."""
    pulses = pulses_of_this_worker()
    await open_many(2, "room")
    async with pulses.watching():
        await tell(Report(worker="other", lagging=1))
        await tell(Report(worker="other", lagging=2))
        await until(lambda: len(pulses.heard) == 2)
        await until(lambda: pulses.heard["other"].report.lagging == 2)
        [own] = [one.report for name, one in pulses.heard.items() if name != "other"]
        assert own.streams == 2
    assert pulses.heard == {}


async def test_reports_go_on_until_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """One asks again and again; when it stops, so do the workers."""
    monkeypatch.setattr(pulses_module, "PULSE_SECONDS", 0.01)
    monkeypatch.setattr(pulses_module, "_EARLY_SECONDS", 0.001)
    monkeypatch.setattr(pulses_module, "_ASK_SECONDS", 0.05)
    monkeypatch.setattr(pulses_module, "_WATCHED_SECONDS", 0.3)
    pulses, sent = pulses_of_this_worker(), []
    send = pulses._send

    async def note(group: str, message: Any) -> None:
        sent.append((group, message["type"]))
        await send(group, message)

    monkeypatch.setattr(pulses, "_send", note)
    asked, told = (BROADCAST, "sse.ask"), (WATCHERS, "sse.report")
    async with pulses.watching(), pulses.watching():
        await until(lambda: sent.count(asked) > 12)  # For longer than they believe it once.
        assert sent.count(told) > 12
    assert pulses._asking is None
    await until(lambda: pulses._beating is None)


async def test_worker_that_is_asked_tells(layer: FakeLayer) -> None:
    """It need not watch itself; nothing is told before."""
    pulses_of_this_worker()
    await open_many(1, "room")
    assert layer_group(WATCHERS) not in layer.called("group_send")
    layer.inbox.put_nowait({"type": "sse.ask"})
    await until(lambda: layer_group(WATCHERS) in layer.called("group_send"))


async def test_layer_that_fails_leaves_this_worker(layer: FakeLayer, caplog: Any) -> None:
    """Somebody on call sees at least what they are connected to."""
    pulses = pulses_of_this_worker()
    layer.failures["group_add"] = [ConnectionError("down")]
    layer.failures["group_send"] = [ConnectionError("down")] * 2
    async with pulses.watching():
        await until(lambda: pulses.heard)
        await until(lambda: metrics.layer_errors >= 3)
    assert "not heard" in caplog.text


async def test_layer_that_is_back_is_joined(
    layer: FakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that was opened while it was down hears the others after that."""
    monkeypatch.setattr("django_sse.pulses._ASK_SECONDS", 0.01)
    pulses = pulses_of_this_worker()
    layer.failures["group_add"] = [ConnectionError("down")] * 2
    async with pulses.watching():
        await until(lambda: layer.called("group_add").count(layer_group(WATCHERS)) == 3)
        await until(lambda: pulses._is_joined)
    assert not pulses._is_joined


async def test_worker_that_is_silent_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at once: it is known for a while that it does not answer."""
    monkeypatch.setattr(pulses_module, "_ASK_SECONDS", 0.05)
    monkeypatch.setattr(pulses_module, "_WATCHED_SECONDS", 0.2)
    pulses = pulses_of_this_worker()
    async with pulses.watching():
        await tell(Report(worker="other"))
        await until(lambda: "other" in pulses.heard)
        await until(lambda: "other" not in pulses.heard)


def test_group_of_those_who_watch_is_nobodys() -> None:
    """No view can put a stream into it, and no token can name it."""
    with pytest.raises(InvalidGroup):
        check_names(WATCHERS)
    assert layer_group(WATCHERS) not in {layer_group("watchers"), layer_group("sse.watchers")}


async def test_reports_are_no_events() -> None:
    """What is counted is what the project sends."""
    pulses = pulses_of_this_worker()
    async with pulses.watching():
        await tell(Report(worker="other"))
        await until(lambda: "other" in pulses.heard)
    assert (metrics.events_received, metrics.events_published) == (0, 0)


async def test_worker_without_a_registry_lets_the_others_talk(
    layer: FakeLayer, settings: Any, caplog: Any
) -> None:
    """It has no figures to tell, and takes no message of theirs for a broken event."""
    settings.DJANGO_SSE = {"REGISTRY": False}
    assert Registrar.of(get_hub()).pulses is None
    await open_many(1, "room")
    for message in ({"type": "sse.ask"}, {"type": "sse.report", "report": {}}):
        layer.inbox.put_nowait(message)
    await until(layer.inbox.empty)
    layer.inbox.put_nowait({"type": "sse.unknown"})
    await until(lambda: "not an event" in caplog.text)
    assert caplog.text.count("not an event") == 1
    assert layer_group(WATCHERS) not in layer.called("group_send")
