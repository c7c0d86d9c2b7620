"""The tables of the database store: what is enlisted, the histories, and where they end."""

from django.db import models

__all__ = ["EnlistedEvent", "GroupHead", "StoredEvent"]

# A group is known by a digest of its name: MySQL's collations take "Room" for "room", and have a
# limit to what they index. Names and messages are ASCII JSON, which every character set holds.
_KEY_LENGTH = 40
_MARK_LENGTH = 32


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
        default_permissions = ()
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
