"""What has happened to the rows of a model, gathered until somebody looks."""

import asyncio
import logging
from collections.abc import Callable, Set
from typing import Any

from django.db.models import Model

from django_sse.events import ServerSentEvent
from django_sse.live_querysets.backoff import backoff
from django_sse.metrics import metrics
from django_sse.model_publishing.rows import changed_rows, rows_group
from django_sse.subscriptions import subscribe

__all__ = ["RowNews"]

logger = logging.getLogger("django.sse")


class RowNews:
    """
    Gathers the primary keys of rows of *model* that have changed.

    Args:
        model: The model.
        on_join: Called once, when nothing that changes from then on is missed.
        on_failure: Called instead, with the error, if the group of the news cannot be joined.
        on_news: Called when there is something to take().
    """

    def __init__(
        self,
        model: type[Model],
        *,
        on_join: Callable[[], None],
        on_failure: Callable[[Exception], None],
        on_news: Callable[[], None],
    ) -> None:
        self._model = model
        self._on_join = on_join
        self._on_failure = on_failure
        self._on_news = on_news
        self._has_joined = False
        self._failures = 0
        self._changed: set[Any] = set()
        self._is_lost = False

    def take(self) -> tuple[Set[Any], bool]:
        """Return the keys that have come since the last time, and whether others were lost."""
        changed, is_lost = self._changed, self._is_lost
        self._changed, self._is_lost = set(), False
        return changed, is_lost

    def put_back(self, changed: Set[Any], is_lost: bool) -> None:
        """Undo a take(): nobody could look."""
        self._changed |= changed
        self._is_lost |= is_lost

    async def listen(self) -> None:
        """Gather until this is cancelled; when the news fail, join them again."""
        while True:
            try:
                async with subscribe(rows_group(self._model)) as events:
                    self._join()
                    async for event in events:
                        self._failures = 0
                        self._add(event)
            except Exception as error:
                if not self._has_joined:
                    self._on_failure(error)
                    return
                self._note(error)
                await asyncio.sleep(backoff(self._failures))

    def _note(self, error: Exception) -> None:
        self._failures += 1
        metrics.store_errors += 1
        log = logger.error if self._failures == 1 else logger.debug
        log(
            "The news of %s fail (%s: %s); trying on.",
            self._model._meta.label,
            type(error).__name__,
            error,
        )

    def _join(self) -> None:
        if self._has_joined:
            self._lose()  # What happened since the failure.
        else:
            self._has_joined = True
            self._on_join()

    def _lose(self) -> None:
        self._is_lost = True
        self._on_news()

    def _add(self, event: ServerSentEvent) -> None:
        if event.event == "reset":
            self._lose()
        else:
            self._changed |= changed_rows(self._model, [event.data])
            self._on_news()
