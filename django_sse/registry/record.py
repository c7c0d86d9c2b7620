"""The rows of one worker in the registry."""

import datetime
import json
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.expressions import CombinedExpression
from django.utils import timezone

from django_sse import processes
from django_sse.conf import get_settings
from django_sse.models import Connection, DatabaseNow, Membership, Worker
from django_sse.registry.bulk import delete, insert, upsert
from django_sse.registry.entries import Batch, Outcome, PresenceChange
from django_sse.registry.presence import departures, reconcile
from django_sse.registry.samples import forget_samples, write_sample
from django_sse.stores.database_calls import DatabaseCalls

__all__ = ["Record", "renewal_seconds"]

# SQLite takes 32,766 parameters, and PostgreSQL 65,535.
_IDS_AT_ONCE = 10_000
# Those that are too old need not be deleted each time: nobody reads them.
_SAMPLES_UNTIL_FORGOTTEN = 8
_CHANGING = ("events_sent", "bytes_sent", "queue_bytes", "is_lagging")


def renewal_seconds() -> float:
    """
    Return how often a worker renews its lease, and looks for others that have run out.

    A lease runs for three such intervals, and another passes at most until a living worker sees
    that one has run out: then the rows of a killed worker are gone, ``LEASE_SECONDS`` after its
    last renewal.
    """
    return get_settings().lease_seconds / 4


class Record:
    """
    Writes what one worker has open. Its methods are for one thread at a time.

    Attributes:
        is_written: Whether there is anything of this worker in the database.
        worker_id: The primary key of its row.
    """

    def __init__(self, alias: str) -> None:
        self.is_written = False
        self._samples = 0
        self._alias = alias
        self._calls = DatabaseCalls(alias)
        # Found out, and not handed over yet: a later statement of the same write may fail.
        self._untold: list[PresenceChange] = []
        self.worker_id = secrets.token_hex(8)
        self._worker = {
            "id": self.worker_id,
            "hostname": socket.gethostname()[:255],
            "pid": processes.pid(),
            "started_at": timezone.now(),
        }

    def write(self, batch: Batch) -> Outcome:
        """
        Write *batch*, by a handful of statements however many streams it has.

        Raises:
            django.db.Error: If the database fails; then the batch is to be written again.
        """
        has_lapsed = False
        if batch.is_renewal or batch.has_rows:
            has_lapsed = self._renew(batch)
        closing = self._closing()
        if batch.is_renewal:
            self._calls.write(lambda again: self._remove_expired())
            self._write_sample(batch.sample or {})
        if batch.has_presence:
            self._untold += departures(self._alias)
        if batch.has_rows:
            self._calls.write(lambda again: self._write_rows(batch, again))
        if batch.is_renewal or batch.has_presence:
            self._untold += reconcile(self._alias)
        presence, self._untold = self._untold, []
        return Outcome(closing, has_lapsed, presence)

    def leave(self) -> None:
        """Delete all that is of this worker; whom groups have lost, a living worker tells."""
        self._calls.write(lambda again: self._delete_workers([self.worker_id]))
        self.is_written = False

    def _renew(self, batch: Batch) -> bool:
        """Renew the lease; return whether it was over, and the rows are gone."""
        renewed = {
            "lease_until": _lease_until(),
            "report_json": json.dumps(batch.report),
        }
        if self._calls.write(lambda again: self._own_row().update(**renewed)):
            self.is_written = True
            return False
        row = Worker(**self._worker, **renewed)
        self._calls.write(lambda again: insert(self._alias, row))
        has_lapsed, self.is_written = self.is_written, True
        return has_lapsed

    def _write_sample(self, figures: Mapping[str, float]) -> None:
        write_sample(self._calls, self.worker_id, figures)
        self._samples += 1
        if self._samples % _SAMPLES_UNTIL_FORGOTTEN == 0:
            forget_samples(self._calls)

    def _write_rows(self, batch: Batch, again: bool) -> None:
        entries, closed = batch.entries, [stream.id for stream in batch.closed]
        regrouped = [entry for entry in entries if entry.has_new_groups]
        stale = closed + [e.stream.id for e in regrouped if e.is_written or again]
        with transaction.atomic(using=self._alias):
            if batch.is_anew:
                self._delete_connections([self.worker_id])
            upsert(self._alias, [entry.to_row(self.worker_id) for entry in entries], _CHANGING)
            for ids in _pieces(stale):
                delete(self._memberships().filter(connection__in=ids))
            upsert(
                self._alias, [row for e in regrouped for row in e.to_memberships(self.worker_id)]
            )
            for ids in _pieces(closed):
                delete(self._connections().filter(pk__in=ids))

    def _closing(self) -> list[tuple[str, str]]:
        rows = self._connections().filter(worker=self.worker_id, closing__gt="")
        return self._calls.read(lambda: list(rows.values_list("pk", "closing")))

    def _remove_expired(self) -> None:
        expired = list(
            self._workers().exclude(lease_until__gt=DatabaseNow()).values_list("pk", flat=True)
        )
        if expired:
            self._delete_workers(expired)

    def _delete_workers(self, ids: list[str]) -> None:
        with transaction.atomic(using=self._alias):
            self._delete_connections(ids)
            delete(self._workers().filter(pk__in=ids))

    def _delete_connections(self, worker_ids: list[str]) -> None:
        delete(self._memberships().filter(worker__in=worker_ids))
        delete(self._connections().filter(worker__in=worker_ids))

    def _workers(self) -> "QuerySet[Worker]":
        return Worker.objects.using(self._alias)

    def _own_row(self) -> "QuerySet[Worker]":
        return self._workers().filter(pk=self.worker_id)

    def _connections(self) -> "QuerySet[Connection]":
        return Connection.objects.using(self._alias)

    def _memberships(self) -> "QuerySet[Membership]":
        return Membership.objects.using(self._alias)


def _lease_until() -> CombinedExpression:
    return DatabaseNow() + datetime.timedelta(seconds=3 * renewal_seconds())


def _pieces(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _IDS_AT_ONCE):
        yield ids[start : start + _IDS_AT_ONCE]
