"""The command that finishes what killed processes have begun."""

import logging
import math
import signal
import threading
import time
from argparse import ArgumentParser, ArgumentTypeError
from types import FrameType
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from django_sse.publishing import send_entries
from django_sse.stores import get_store
from django_sse.stores.base import BaseStore

__all__ = ["Command"]

logger = logging.getLogger("django.sse")

_INTERVAL_SECONDS = 5.0
_SWEEP_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 60.0


class Command(BaseCommand):
    """
    Relays the events that were committed, and whose publisher has not lived to send them.

    It runs until SIGTERM or SIGINT; what is under way is finished, and a second signal ends it at
    once. Any number of them may run.
    """

    help = (
        "Number and send the events that were committed by processes that ended before they could"
        " do it, and forget old ones. Runs until it is told to end."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stopped = threading.Event()
        self._next_sweep = 0.0

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--interval",
            type=_seconds,
            default=_INTERVAL_SECONDS,
            metavar="SECONDS",
            help="How long to wait between two looks at the database; default: %(default)s.",
        )
        parser.add_argument(
            "--once", action="store_true", help="Look once, then end; a failure is the exit code."
        )

    def handle(self, *args: Any, interval: float, once: bool, **options: Any) -> None:
        store = _get_transactional_store()
        if once:
            try:
                count, forgotten = self._work(store)
            except Exception as error:
                raise CommandError(f"{type(error).__name__}: {error}") from error
            self.stdout.write(f"Relayed {count} events, forgot {forgotten}.")
        else:
            self._run(store, interval)

    def stop(self) -> None:
        """End the command after what it is doing."""
        self._stopped.set()

    def _run(self, store: BaseStore, interval: float) -> None:
        self._listen_to_signals()
        logger.info("The relay looks for events every %g s.", interval)
        pause = 0.0
        while not self._stopped.wait(pause):
            try:
                self._work(store)
            except Exception as error:
                # Whatever it is, the next one may succeed: servers are restarted.
                pause = min(max(2 * pause, interval), max(_LONGEST_PAUSE_SECONDS, interval))
                logger.error(
                    "The relay failed, and tries again in %g s: %s: %s",
                    pause,
                    type(error).__name__,
                    error,
                )
            else:
                pause = interval
        logger.info("The relay has ended.")

    def _work(self, store: BaseStore) -> tuple[int, int]:
        """Relay, and forget what is old now and then; return how many events of each."""
        entries = store.relay()
        if entries:
            logger.info("The relay found %d events that nobody had sent.", len(entries))
            send_entries(entries)
        forgotten = 0
        if time.monotonic() >= self._next_sweep:
            forgotten = store.forget_old()
            self._next_sweep = time.monotonic() + _SWEEP_SECONDS
            logger.debug("The relay forgot %d old events.", forgotten)
        return len(entries), forgotten

    def _listen_to_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._take_signal)

    def _take_signal(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.stop()


def _get_transactional_store() -> BaseStore:
    try:
        store = get_store()
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from error
    if store is None or not store.is_transactional:
        raise CommandError(
            f"DJANGO_SSE['STORE'] is {type(store).__name__ if store else None}, which has nothing"
            " to relay; this command is for 'django_sse.stores.database.DatabaseStore'."
        )
    return store


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # From a pause of over a day the platform's own limits are not far.
    if not 0 < value <= 86_400:
        raise ArgumentTypeError(f"{text!r} must be a number of seconds above 0, 86400 at most.")
    return value
