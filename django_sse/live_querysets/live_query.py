"""One queryset of one event loop, which any number of readers follow."""

import asyncio
import dataclasses
import functools
import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Protocol

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError
from django.db.models import Model, QuerySet

from django_sse.contexts import new_context
from django_sse.hub import Hub
from django_sse.live_querysets.backoff import backoff
from django_sse.live_querysets.news import RowNews
from django_sse.live_querysets.rows import Kind, Row, RowForm
from django_sse.metrics import metrics

__all__ = ["Follower", "LiveQuery", "Telling", "live_query"]

logger = logging.getLogger("django.sse")

# How many rows one query looks at; databases limit the parameters.
_CHUNK_ROWS = 500

#: What has happened to the row of a primary key.
Telling = tuple[Any, Kind, Row]

#: A row that matches, by what has to be told of it.
_Told = Mapping[Kind, Row]


class Follower(Protocol):
    """Who follows a queryset."""

    def begin(self, rows: OrderedDict[Any, tuple[Kind, Row]]) -> None:
        """Take the rows that match now, by primary key, as they are told; all are given this."""

    def take(self, tellings: Sequence[Telling]) -> None:
        """Take what has happened since."""

    def fail(self, error: Exception) -> None:
        """Know that nothing more comes."""


@dataclasses.dataclass(frozen=True)
class _Look:
    """One look at the database."""

    changed: Set[Any]
    is_lost: bool
    joiners: Sequence[Follower]

    @property
    def is_whole(self) -> bool:
        """Whether all rows are read, not only those that have changed."""
        return self.is_lost or bool(self.joiners)

    def kinds(self, pk: Any, is_known: bool) -> Iterator[Kind]:
        """Yield what is to be told, to somebody, of a row that matches."""
        if self.joiners or not is_known:
            yield "enter"
        if is_known and (self.is_lost or pk in self.changed):
            yield "change"


class LiveQuery:
    """
    Keeps the primary keys of the rows that match, and tells its followers what becomes of them.

    One task looks at the database, in steps: it reads the rows that have changed since its last
    look or, for new followers and after a loss of news, all. So everybody is at the same state
    after each step, and what changes during one is looked at in the next.

    Args:
        hub: That of the loop.
        queryset: The queryset.
        form: How its rows are told.
        on_close: Called once, when nobody follows it any more, or when it has failed.
    """

    def __init__(
        self,
        hub: Hub,
        queryset: QuerySet[Any],
        form: RowForm,
        on_close: Callable[[], object],
    ) -> None:
        self.is_closed = False
        self._on_close = on_close
        self._queryset = queryset
        self._form = form
        self._followers: set[Follower] = set()
        self._joining: dict[Follower, None] = {}
        self._matching: set[Any] = set()
        self._has_joined = asyncio.Event()
        self._error: Exception | None = None
        self._wanted = asyncio.Event()
        self._news = RowNews(
            queryset.model,
            on_join=self._has_joined.set,
            on_failure=self._fail,
            on_news=self._wanted.set,
        )
        context = new_context()
        self._tasks = [hub.spawn(step, context) for step in (self._news.listen(), self._work())]

    async def join(self, follower: Follower) -> None:
        """
        Let *follower* begin soon; what changes after this returned is told it.

        Raises:
            Exception: As subscribe() does on entering.
        """
        self._joining[follower] = None
        await self._has_joined.wait()
        if self._error is not None:
            raise self._error
        self._wanted.set()

    def leave(self, follower: Follower) -> None:
        """Tell *follower* no more. With the last one all ends."""
        self._followers.discard(follower)
        self._joining.pop(follower, None)
        if not self._followers and not self._joining:
            self._close()

    def _close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._on_close()
        for task in self._tasks:
            task.cancel()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._has_joined.set()
        for follower in (*self._followers, *self._joining):
            follower.fail(error)
        self._close()

    async def _work(self) -> None:
        failures = 0
        while True:
            await self._wanted.wait()  # Not before the news are joined.
            self._wanted.clear()
            try:
                await self._step()
            except (OperationalError, InterfaceError) as error:
                failures += 1
                self._note(error, failures)
                await asyncio.sleep(backoff(failures))
                self._wanted.set()
            except Exception as error:
                self._fail(error)
                return
            else:
                failures = 0

    def _note(self, error: Exception, failures: int) -> None:
        metrics.store_errors += 1
        log = logger.error if failures == 1 else logger.debug
        log(
            "Rows of %s cannot be read (%s: %s); trying on.",
            self._queryset.model._meta.label,
            type(error).__name__,
            error,
        )

    async def _step(self) -> None:
        look = _Look(*self._news.take(), tuple(self._joining))
        try:
            read = await sync_to_async(self._read)(look)
        except Exception:
            self._news.put_back(look.changed, look.is_lost)
            raise
        tellings = list(self._tellings(look, read))
        self._matching = set(read).union(() if look.is_whole else self._matching - look.changed)
        for follower in self._followers:
            follower.take(tellings)
        self._welcome(look.joiners, read)

    def _welcome(self, joiners: Iterable[Follower], read: Mapping[Any, _Told]) -> None:
        rows: OrderedDict[Any, tuple[Kind, Row]] = OrderedDict()
        if joiners:
            rows.update((pk, ("enter", told["enter"])) for pk, told in read.items())
        for joiner in joiners:
            if joiner in self._joining:  # Some have left meanwhile.
                del self._joining[joiner]
                self._followers.add(joiner)
                joiner.begin(rows)

    def _tellings(self, look: _Look, read: Mapping[Any, _Told]) -> Iterator[Telling]:
        known = self._matching
        for pk in (known if look.is_whole else known & look.changed) - set(read):
            yield pk, "leave", self._form.gone(pk)
        for pk, told in read.items():
            kind: Kind = "change" if pk in known else "enter"
            if kind in told:
                yield pk, kind, told[kind]

    # In a thread, while the loop waits for it:

    def _read(self, look: _Look) -> dict[Any, _Told]:
        """Return the rows that match, of those that are looked at, in the queryset's order."""
        read: dict[Any, _Told] = {}
        for instance in self._instances(look):
            pk = instance.pk
            if pk not in read:  # A join may give a row twice.
                told = self._told(instance, tuple(look.kinds(pk, pk in self._matching)))
                if told is not None:
                    read[pk] = told
        return read

    def _instances(self, look: _Look) -> Iterator[Model]:
        if look.is_whole:
            yield from self._queryset.all()
            return
        changed = iter(look.changed)
        while chunk := list(itertools.islice(changed, _CHUNK_ROWS)):
            yield from self._queryset.filter(pk__in=chunk)

    def _told(self, instance: Model, kinds: Iterable[Kind]) -> _Told | None:
        try:
            return {kind: self._form.row(instance, kind) for kind in kinds}
        except (OperationalError, InterfaceError):
            raise
        except Exception:  # The others have nothing to do with it.
            metrics.publish_errors += 1
            logger.exception("%r cannot be told, and is left out.", instance)
            return None


_queries: dict[tuple[asyncio.AbstractEventLoop, Hashable], LiveQuery] = {}


def live_query(hub: Hub, identity: Hashable, queryset: QuerySet[Any], form: RowForm) -> LiveQuery:
    """Return the query that is shared by all of the loop with the same *identity* and *form*."""
    key = (hub.loop, (identity, form))
    if key not in _queries:
        for closed in [other for other in _queries if other[0].is_closed()]:
            del _queries[closed]
        _queries[key] = LiveQuery(hub, queryset, form, functools.partial(_queries.pop, key))
    return _queries[key]
