"""The tables of the database store, and those of the registry."""

import json
from typing import Any, ClassVar

from django.db import models
from django.db.models.functions import Now

__all__ = [
    "Connection",
    "Dashboard",
    "DatabaseNow",
    "EnlistedEvent",
    "GroupHead",
    "Membership",
    "PresentUser",
    "Sample",
    "StoredEvent",
    "Worker",
]

# A group is known by a digest of its name: MySQL's collations take "Room" for "room", and have a
# limit to what they index. Names and messages are ASCII JSON, which every character set holds.
_KEY_LENGTH = 40
_MARK_LENGTH = 32
_ID_LENGTH = 32


class EnlistedEvent(models.Model):
    """
    The outbox: an event that its publisher's transaction holds, for one group, without a number.

    Other transactions see it once it is committed; then it is moved to the history.
    """

    id = models.BigAutoField(primary_key=True)
    group_key = models.CharField(max_length=_KEY_LENGTH)
    group_json = models.TextField()
    mark = models.CharField(max_length=_MARK_LENGTH)
    message_json = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        db_table = "django_sse_outbox"
        default_permissions = ()
        indexes = [models.Index(fields=["group_key", "id"], name="django_sse_outbox_group")]

    def __str__(self) -> str:
        return f"{self.mark} for {self.group_json}"


class StoredEvent(models.Model):
    """One event in the history of one group."""

    id = models.BigAutoField(primary_key=True)
    group_key = models.CharField(max_length=_KEY_LENGTH)
    number = models.BigIntegerField()
    mark = models.CharField(max_length=_MARK_LENGTH)
    previous = models.CharField(max_length=_MARK_LENGTH)
    message_json = models.TextField()
    #: When it was given its number: within a group never before the event of a lower number.
    created_at = models.DateTimeField()

    class Meta:
        db_table = "django_sse_event"
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["group_key", "number"], name="django_sse_event_number")
        ]
        indexes = [models.Index(fields=["created_at", "number"], name="django_sse_event_age")]

    def __str__(self) -> str:
        return f"{self.number}: {self.mark}"


class GroupHead(models.Model):
    """Where the history of a group ends. Who writes to the history has this row locked."""

    id = models.BigAutoField(primary_key=True)
    group_key = models.CharField(max_length=_KEY_LENGTH, unique=True)
    group_json = models.TextField()
    number = models.BigIntegerField()
    mark = models.CharField(max_length=_MARK_LENGTH)
    #: The mark before the last move: who moves the head learns it from here.
    previous = models.CharField(max_length=_MARK_LENGTH, db_default="")
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "django_sse_group"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.group_json} at {self.number}"


class DatabaseNow(Now):
    """The time by the clock of the database, which all workers share."""

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Say it in UTC, in which Django writes times; Now() is in the time zone of the server."""
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **context)


class LiveWorkers(models.Manager["Worker"]):
    """Those whose lease has not run out: the others have been killed, or cut off."""

    def get_queryset(self) -> models.QuerySet["Worker"]:
        """See Manager."""
        return super().get_queryset().filter(lease_until__gt=DatabaseNow())


class Worker(models.Model):
    """One process that serves streams. Its rows count for as long as its lease runs."""

    id = models.CharField(primary_key=True, max_length=_ID_LENGTH)
    hostname = models.CharField(max_length=255)
    pid = models.BigIntegerField()
    #: By the clock of the worker.
    started_at = models.DateTimeField()
    #: By the clock of the database.
    lease_until = models.DateTimeField(db_index=True)
    # Text: for a JSONField Django's system checks ask SQLite each time whether it can have one.
    report_json = models.TextField(default="{}")

    objects: "ClassVar[models.Manager[Worker]]" = models.Manager()
    live: ClassVar[LiveWorkers] = LiveWorkers()

    class Meta:
        db_table = "django_sse_worker"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.hostname}:{self.pid}"

    @property
    def report(self) -> dict[str, Any]:
        """What the worker has told of itself when it last renewed its lease."""
        report: dict[str, Any] = json.loads(self.report_json)
        return report

    @property
    def counters(self) -> dict[str, int]:
        """What django_sse.metrics counts, with the events and bytes of the streams now open."""
        counters: dict[str, int] = self.report.get("counters", {})
        return counters


class Dashboard(Worker):
    """The workers at a glance: where the admin's dashboard is found."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = "dashboard"
        verbose_name_plural = "dashboard"


class Sample(models.Model):
    """What one worker has done in some seconds, for the charts of the last hour."""

    id = models.BigAutoField(primary_key=True)
    worker_id = models.CharField(max_length=_ID_LENGTH)
    #: By the clock of the database.
    taken_at = models.DateTimeField(db_index=True)
    figures_json = models.TextField()

    objects: "ClassVar[models.Manager[Sample]]" = models.Manager()

    class Meta:
        db_table = "django_sse_sample"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.worker_id} at {self.taken_at}"


class LiveConnections(models.Manager["Connection"]):
    """Those of the workers that live."""

    def get_queryset(self) -> models.QuerySet["Connection"]:
        """See Manager."""
        return super().get_queryset().filter(worker__in=Worker.live.values("pk"))


class Connection(models.Model):
    """One open stream. The counts are as of a while ago."""

    id = models.CharField(primary_key=True, max_length=_ID_LENGTH)
    # The rows of a worker are deleted together, by statements of the registry's own.
    worker = models.ForeignKey(
        Worker, models.DO_NOTHING, db_constraint=False, related_name="connections"
    )
    #: A plain id: users may be in another database. Empty for a visitor who is not logged in.
    user_id = models.CharField(max_length=255, blank=True, db_index=True)
    #: A digest of the session's key.
    session = models.CharField(max_length=_KEY_LENGTH, blank=True, db_index=True)
    view = models.CharField(max_length=255)
    path = models.TextField()
    address = models.CharField(max_length=64, blank=True)
    #: By the clock of the worker.
    opened_at = models.DateTimeField(db_index=True)
    events_sent = models.BigIntegerField(default=0)
    bytes_sent = models.BigIntegerField(default=0)
    queue_bytes = models.BigIntegerField(default=0)
    #: Whether it reads from the store what it was too slow for.
    is_lagging = models.BooleanField(default=False)
    #: Why it is to end, once somebody has asked for that: a CloseReason. Its worker looks for it.
    closing = models.CharField(max_length=_ID_LENGTH, blank=True, default="")

    objects: "ClassVar[models.Manager[Connection]]" = models.Manager()
    live: ClassVar[LiveConnections] = LiveConnections()

    class Meta:
        db_table = "django_sse_connection"
        default_permissions = ("view",)
        permissions = [
            ("close_connection", "Can disconnect streams"),
            ("publish_event", "Can publish events"),
            ("tap_events", "Can read the events of other people's streams"),
        ]
        indexes = [models.Index(fields=["worker", "closing"], name="django_sse_connection_worker")]

    def __str__(self) -> str:
        return f"{self.id} {self.path}"


class Membership(models.Model):
    """One connection in one group."""

    id = models.BigAutoField(primary_key=True)
    connection = models.ForeignKey(
        Connection, models.DO_NOTHING, db_constraint=False, related_name="memberships"
    )
    worker = models.ForeignKey(
        Worker, models.DO_NOTHING, db_constraint=False, related_name="memberships"
    )
    group_key = models.CharField(max_length=_KEY_LENGTH)
    group_json = models.TextField()
    #: Whom the group is to be told of as present; empty if it did not ask.
    present_user_id = models.CharField(max_length=255, blank=True)

    objects: "ClassVar[models.Manager[Membership]]" = models.Manager()

    class Meta:
        db_table = "django_sse_membership"
        default_permissions = ()
        indexes = [
            models.Index(
                fields=["group_key", "present_user_id"], name="django_sse_membership_group"
            )
        ]

    def __str__(self) -> str:
        return f"{self.group_json} has {self.present_user_id or 'somebody'}"

    @property
    def group(self) -> str:
        """The name of the group."""
        name: str = json.loads(self.group_json)
        return name


class PresentUser(models.Model):
    """A user of whom a group has been told that they joined, and not that they left."""

    id = models.BigAutoField(primary_key=True)
    group_key = models.CharField(max_length=_KEY_LENGTH)
    group_json = models.TextField()
    user_id = models.CharField(max_length=255)

    objects: "ClassVar[models.Manager[PresentUser]]" = models.Manager()

    class Meta:
        db_table = "django_sse_present_user"
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["group_key", "user_id"], name="django_sse_present_user_group"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.group_json}"
