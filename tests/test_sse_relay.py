"""manage.py sse_relay: what it sends, how it fails and goes on, and how it ends."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections

from django_sse.management.commands import sse_relay
from django_sse.management.commands.sse_relay import Command
from django_sse.positions import START
from django_sse.stores.base import Entry
from django_sse.stores.database import DatabaseStore
from django_sse.stores.memory import MemoryStore
from tests.stores.databases import environment, use_database
from tests.stores.test_database import age, message, texts

TIMEOUT = 60.0


@pytest.fixture
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> DatabaseStore:
    """The project's store."""
    found = DatabaseStore(alias=use_database("sqlite", request))
    monkeypatch.setattr(sse_relay, "get_store", lambda: found)
    return found


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    """The entries that were given to the channel layer."""
    entries: list[Entry] = []
    monkeypatch.setattr(sse_relay, "send_entries", entries.extend)
    return entries


@pytest.fixture
def command(store: DatabaseStore) -> Iterator[Callable[..., Command]]:
    """Return a function that runs the command in a thread until the test's end."""
    started: list[tuple[Command, threading.Thread]] = []

    def run(*arguments: str) -> Command:
        made = Command()

        def call() -> None:
            try:
                call_command(made, *arguments)
            finally:
                connections[store.alias].close()

        thread = threading.Thread(target=call)
        started.append((made, thread))
        thread.start()
        return made

    yield run
    for made, thread in started:
        made.stop()
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_once_relays_sends_and_sweeps(
    store: DatabaseStore, sent: list[Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what it did."""
    store.append(["room"], message("old"))
    age(store, 4000)
    store.enlist(["room", "hall"], message("left behind"))
    call_command("sse_relay", "--once")
    assert sorted((entry.group, entry.number) for entry in sent) == [("hall", 1), ("room", 2)]
    assert capsys.readouterr().out == "Relayed 2 events, forgot 1.\n"
    call_command("sse_relay", "--once")
    assert len(sent) == 2


def test_once_that_fails_is_an_error(
    store: DatabaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler sees the exit code."""

    def fail() -> None:
        raise OperationalError("no server")

    monkeypatch.setattr(store, "relay", fail)
    with pytest.raises(CommandError, match="OperationalError: no server"):
        call_command("sse_relay", "--once")


def test_relays_what_comes_while_it_runs(
    store: DatabaseStore, sent: list[Entry], command: Callable[..., Command]
) -> None:
    """It looks again and again."""

    def is_last(text: str) -> bool:
        return texts(sent)[-1:] == [text]

    command("--interval=0.01")
    for text in ("a", "b", "c"):
        store.enlist(["room"], message(text))
        wait_until(partial(is_last, text))
    assert [entry.number for entry in sent] == [1, 2, 3]
    assert store.positions(["room"])["room"] == sent[-1].position


def test_goes_on_after_failures(
    store: DatabaseStore,
    sent: list[Entry],
    command: Callable[..., Command],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It waits longer after each, up to a bound, and then works as before."""
    failures: list[object] = []
    relay = store.relay

    def fail_thrice() -> list[Entry]:
        if len(failures) < 3:
            failures.append(None)
            raise OperationalError("no server")
        return relay()

    monkeypatch.setattr(store, "relay", fail_thrice)
    store.enlist(["room"], message("a"))
    with caplog.at_level(logging.ERROR, "django.sse"):
        command("--interval=0.01")
        wait_until(lambda: sent)
    pauses = [record.args[0] for record in caplog.records if isinstance(record.args, tuple)]
    assert pauses == [0.01, 0.02, 0.04]
    assert "tries again in 0.04 s: OperationalError: no server" in caplog.text


def test_pause_after_failures_has_a_bound(
    store: DatabaseStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A minute, or the interval where that is longer."""
    made = Command()
    pauses: list[float] = []

    def wait(pause: float) -> bool:
        pauses.append(pause)
        return len(pauses) > 12

    def fail() -> None:
        raise OperationalError("no server")

    monkeypatch.setattr(made._stopped, "wait", wait)
    monkeypatch.setattr(store, "relay", fail)
    monkeypatch.setattr(made, "_listen_to_signals", lambda: None)
    call_command(made)
    assert pauses == [0, 5, 10, 20, 40, *[60] * 8]


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "soon", "100000", ""])
def test_interval_that_is_no_pause_is_refused(store: DatabaseStore, interval: str) -> None:
    """The error names the rule."""
    with pytest.raises(CommandError, match="must be a number of seconds above 0"):
        call_command("sse_relay", f"--interval={interval}")


@pytest.mark.parametrize("found", [None, MemoryStore()])
def test_store_without_transactions_is_refused(
    found: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to relay."""
    monkeypatch.setattr(sse_relay, "get_store", lambda: found)
    with pytest.raises(CommandError, match="which has nothing to relay"):
        call_command("sse_relay")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_process(
    store: DatabaseStore, number: signal.Signals, settings: Any
) -> None:
    """It has relayed what there was, and its exit code is 0."""
    store.enlist(["room"], message("left behind"))
    script = (
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "from django.test import override_settings\n"
        "path = 'django_sse.stores.database.DatabaseStore'\n"
        "with override_settings(DJANGO_SSE={'STORE': {'BACKEND': path}}):\n"
        "    call_command('sse_relay', '--interval=0.01')\n"
        "print('ended')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment("sqlite"),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: store.positions(["room"])["room"] != START)
        os.kill(process.pid, number)
        assert process.communicate(timeout=TIMEOUT)[0] == "ended\n"
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
