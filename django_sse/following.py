"""How a hub follows the histories of its groups."""

import asyncio
import collections
import logging
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence

from django_sse.conf import get_settings
from django_sse.envelope import Delivery
from django_sse.exceptions import StoreUnavailable
from django_sse.metrics import metrics
from django_sse.positions import Position
from django_sse.reasons import ResetReason
from django_sse.replays import Piece, Replays, Spawn
from django_sse.stores.base import BaseStore
from django_sse.tails import Tail

__all__ = ["Following"]

logger = logging.getLogger("django.sse")

# So long an event may be late without the store being asked: layers reorder more than they lose.
_GRACE_SECONDS = 0.05
# So often the store is asked whether a last event was lost, which no later one tells of.
_LOOK_SECONDS = 2.0
# For how many groups at once; where there are more, those that were silent take turns.
_LOOK_GROUPS = 1000
# How many entries are read at once.
_PIECE_EVENTS = 200


class Following:
    """
    Keeps a Tail for each group that a hub is in, and reads what the channel layer did not bring.

    Args:
        store: The histories.
        spawn: Runs a coroutine in a task of the hub.
        on_delivery: Called with each event when its turn has come, and with each reset.
        on_missed: Called with groups of which events did not come: the channel layer may have
            forgotten that this process is a member.
    """

    def __init__(
        self,
        store: BaseStore,
        spawn: Spawn,
        on_delivery: Callable[[Delivery], None],
        on_missed: Callable[[Collection[str]], None],
    ) -> None:
        self._store = store
        self._spawn = spawn
        self._on_delivery = on_delivery
        self._on_missed = on_missed
        self._tails: dict[str, Tail] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._healing: dict[Tail, asyncio.Task[None]] = {}
        self._replays = Replays(store, spawn)
        self._look_now = asyncio.Event()
        self._turns: collections.deque[str] = collections.deque()
        self._looking: asyncio.Task[None] | None = None

    async def start(self, groups: Iterable[str]) -> None:
        """
        Follow *groups* too; when this returns their positions are known.

        Raises:
            StoreUnavailable: If the store fails, or takes more than
                ``CHANNEL_LAYER_TIMEOUT_SECONDS``.
        """
        new = [group for group in groups if group not in self._tails]
        if new:
            tails = {group: Tail(group) for group in new}
            self._tails.update(tails)
            task = self._spawn(self._find(tails))
            self._starting.update(dict.fromkeys(new, task))
            task.add_done_callback(self._forget_start)
        for task in {self._starting[group] for group in groups if group in self._starting}:
            await asyncio.shield(task)
        if self._looking is None:
            self._looking = self._spawn(self._look())

    def _forget_start(self, task: "asyncio.Task[None]") -> None:
        for group in [group for group, other in self._starting.items() if other is task]:
            del self._starting[group]

    async def _find(self, tails: Mapping[str, Tail]) -> None:
        try:
            async with asyncio.timeout(get_settings().channel_layer_timeout_seconds):
                positions = await self._store.apositions(list(tails))
        except BaseException as error:
            for group, tail in tails.items():
                if self._tails.get(group) is tail:
                    del self._tails[group]
            if not isinstance(error, Exception):
                raise
            metrics.store_errors += 1
            raise StoreUnavailable(
                f"The store did not tell where the histories of {sorted(tails)!r} end:"
                f" {type(error).__name__}: {error}"
            ) from error
        for group, tail in tails.items():
            # Not one that was left meanwhile, and perhaps joined anew.
            if self._tails.get(group) is tail:
                tail.jump(positions[group])
                if tail.is_touched:  # It may have been behind that place.
                    self.heal(group)

    def __contains__(self, group: object) -> bool:
        """Tell whether *group* is followed."""
        return group in self._tails

    def stop(self, group: str) -> None:
        """Follow *group* no longer."""
        self._tails.pop(group, None)

    def close(self) -> None:
        """Stop looking at the store."""
        for task in (self._looking, *self._healing.values()):
            if task is not None:
                task.cancel()

    def positions(self, groups: Iterable[str]) -> dict[str, Position]:
        """Return how far *groups*, which are followed, have come; to be handed out soon."""
        found = {}
        for group in groups:
            tail = self._tails.get(group)
            if tail is not None and tail.position is not None:
                found[group] = tail.position
        return found

    async def past(self, groups: Sequence[str], back: int | None) -> dict[str, Position]:
        """Return the positions behind which *back* more events follow; see BaseStore."""
        try:
            async with asyncio.timeout(get_settings().channel_layer_timeout_seconds):
                return await self._store.apositions(groups, back)
        except Exception as error:
            metrics.store_errors += 1
            raise StoreUnavailable(f"The store fails: {type(error).__name__}: {error}") from error

    def receive(self, delivery: Delivery) -> None:
        """Take an event, as the channel layer brings it; hand out what is due."""
        tail = self._tails.get(delivery.group)
        if tail is None:
            return
        tail.is_touched = True
        for ready in tail.accept(delivery):
            self._on_delivery(ready)
        if tail.is_broken:
            self.heal(tail.group)
        elif tail.has_gap and tail not in self._healing:
            self._heal(tail, _GRACE_SECONDS)

    def look_now(self) -> None:
        """Ask the store at once for all groups: the channel layer has failed for a while."""
        for tail in self._tails.values():
            tail.is_touched = True
        self._look_now.set()

    def resets(self, groups: Iterable[str]) -> dict[str, int]:
        """Return how often events of each of *groups* have been lost."""
        return {group: self._tails[group].resets for group in groups if group in self._tails}

    def watch(self, groups: Iterable[str]) -> None:
        """Keep what comes for *groups*, for a member on its way to their tails."""
        for group in groups:
            if (tail := self._tails.get(group)) is not None:
                tail.watch()

    def unwatch(self, groups: Iterable[str]) -> None:
        """Undo watch()."""
        for group in groups:
            if (tail := self._tails.get(group)) is not None:
                tail.unwatch()

    def heal(self, group: str) -> "asyncio.Task[None] | None":
        """Read on from the tail of *group* at once; return the task that does."""
        tail = self._tails.get(group)
        return None if tail is None else self._healing.get(tail) or self._heal(tail, 0)

    def _heal(self, tail: Tail, grace: float) -> "asyncio.Task[None]":
        task = self._healing[tail] = self._spawn(self._read_on(tail, grace))
        return task

    async def _read_on(self, tail: Tail, grace: float) -> None:
        try:
            if grace:
                await asyncio.sleep(grace)
                if not tail.has_gap and not tail.is_broken:
                    return
            while self._tails.get(tail.group) is tail and tail.position is not None:
                if not await self._read_piece(tail, tail.position):
                    return
        except Exception as error:
            metrics.store_errors += 1
            tail.is_touched = True  # The next look tries again.
            logger.warning(
                "The history of %r cannot be read (%s: %s); trying on.",
                tail.group,
                type(error).__name__,
                error,
            )
        finally:
            del self._healing[tail]

    async def _read_piece(self, tail: Tail, after: Position) -> bool:
        """Hand out what follows *after*; return whether there may be more."""
        slice_ = await self._store.aread(tail.group, after, _PIECE_EVENTS)
        if self._tails.get(tail.group) is not tail:
            return False
        if not slice_.continues(after):
            logger.warning("Events of the group %r are lost: its history is another.", tail.group)
            metrics.resets_sent += 1
            tail.jump(slice_.head)
            tail.resets += 1
            self._replays.forget()
            self._on_delivery(Delivery.of_reset(tail.group, slice_.head, ResetReason.LOST))
            return False
        tail.is_broken = False
        for entry in slice_.entries:
            for ready in tail.accept(Delivery.of(entry)):
                metrics.events_healed += 1
                self._on_delivery(ready)
        if slice_.entries:
            tail.settle(slice_.entries[-1].number)
        return bool(slice_.entries) and tail.position != slice_.head

    async def _look(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._look_now.wait()
            except TimeoutError:
                pass
            self._look_now.clear()
            # One server of several may be away: it is not to keep the others from being asked.
            servers: dict[Hashable, list[str]] = {}
            for group in self._due():
                servers.setdefault(self._store.server_of(group), []).append(group)
            await asyncio.gather(*map(self._try_to_compare, servers.values()))

    async def _try_to_compare(self, groups: list[str]) -> None:
        try:
            await self._compare(groups)
        except Exception as error:
            metrics.store_errors += 1
            logger.debug("The store cannot be asked (%s: %s).", type(error).__name__, error)

    def _due(self) -> list[str]:
        touched = [group for group, tail in self._tails.items() if tail.is_touched]
        for _ in range(_LOOK_GROUPS - len(touched)):
            if not self._turns:
                self._turns.extend(self._tails)
                if not self._turns:
                    break
            touched.append(self._turns.popleft())
            if len(touched) >= len(self._tails):
                break
        return list(dict.fromkeys(touched))

    async def _compare(self, groups: list[str]) -> None:
        before = self.positions(groups)
        if not before:
            return
        heads = await self._store.apositions(list(before))
        missed = []
        for group, head in heads.items():
            if (tail := self._tails.get(group)) is None:
                continue
            was_touched, tail.is_touched = tail.is_touched, False
            if head in (before[group], tail.position):
                continue
            if not was_touched:
                missed.append(group)
            self.heal(group)
        if missed:
            self._on_missed(missed)

    async def read(self, group: str, after: Position) -> Piece:
        """
        Return what follows *after* in *group*, for a member on its way to the tail.

        Raises:
            Exception: What the store raises.
        """
        tail = self._tails.get(group)
        if tail is None:
            return Piece(())
        if (kept := tail.since(after)) is not None:
            return Piece(kept)
        return await self._replays.read(tail, after)
