"""The event stream of a stream's page: its counters as they change, and the events going by."""

import asyncio
import contextlib
import datetime
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from django_sse.access import refresh_user
from django_sse.admin.base import ReadOnlyAdmin, user_key
from django_sse.admin.cells import duration, local_time, shortened
from django_sse.control import tell_workers
from django_sse.decorators import event_stream
from django_sse.envelope import Delivery
from django_sse.models import Connection
from django_sse.streams import EventStream
from django_sse.taps import Tap
from django_sse.watching import StreamReport, Watch, report_group

__all__ = ["counters_of", "live_view"]

#: How often it is looked whether the user may still read this, and whether the stream is there.
_LOOK_SECONDS = 3.0
# Not more often than this the page is sent what has gone by; of that, so many events at most.
_PAUSE_SECONDS = 0.25
_SHOWN_AT_ONCE = 50
_MAX_SHOWN = 600  # Characters of an event's data.
# A page that reconnects opens no new tap.
_SAME_TAP = datetime.timedelta(hours=1)
_TEMPLATES = "admin/django_sse/connection"


def counters_of(stream: Connection | StreamReport) -> dict[str, Any]:
    """Return what the page shows of a stream's counters: as reported, or as registered."""
    if isinstance(stream, Connection):
        stream = StreamReport(
            events=stream.events_sent,
            bytes=stream.bytes_sent,
            queue_bytes=stream.queue_bytes,
            is_lagging=stream.is_lagging,
            seconds=(timezone.now() - stream.opened_at).total_seconds(),
            groups=(),
        )
    return {"stream": stream, "duration": duration(stream.seconds)}


def live_view(
    model_admin: ReadOnlyAdmin,
) -> Callable[..., Coroutine[Any, Any, HttpResponseBase]]:
    """
    Return the view of the stream of a connection's page.

    Who may not read it, or no longer, is answered 204: the page's client stops for good. It must
    not be wrapped in AdminSite.admin_view(), which sends to the login page.
    """

    @event_stream
    async def live(
        request: HttpRequest, stream: EventStream, object_id: str
    ) -> HttpResponseBase | None:
        # What is sent to all streams is not for this one: its page takes events as HTML.
        stream.divert_broadcasts(lambda event: None)
        page = _Page(model_admin, request, stream, object_id)
        if not await sync_to_async(page.begin)():
            return HttpResponse(status=204)
        stream.create_task(page.feed())
        return None

    # Of Django's LoginRequiredMiddleware, which would redirect.
    live.login_required = False  # type: ignore[attr-defined]
    return live


class _Page:
    """One page that is open, on its own stream."""

    def __init__(
        self,
        model_admin: ReadOnlyAdmin,
        request: HttpRequest,
        stream: EventStream,
        connection: str,
    ) -> None:
        self._admin = model_admin
        self._request = request
        self._stream = stream
        self._connection = connection
        self._is_tapped = "tap" in request.GET
        self._language = translation.get_language()
        self._tap = Tap()
        self._groups: frozenset[str] = frozenset()
        self._is_reported = False
        self._is_refused = False
        self._is_over = False

    def begin(self) -> bool:
        """Return whether there is anything to be shown, to this user."""
        row = self._look()
        if row is not None and self._is_tapped:
            self._log_tap(row)
        return row is not None

    async def feed(self) -> None:
        """Send what the page is to show, until there is nothing more."""
        loop = asyncio.get_running_loop()
        async with self._tap:
            await self._tap.set_groups(self._wanted())
            while not self._is_over:
                look_at = loop.time() + _LOOK_SECONDS
                await self._ask()
                while not self._is_over and loop.time() < look_at:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(look_at):
                            await self._tap.wait()
                    await self._show(self._tap.take_all())
        await self._stream.close()

    def _wanted(self) -> frozenset[str]:
        own = frozenset({report_group(self._connection)})
        return own | self._groups if self._is_tapped else own

    def _may_see(self) -> bool:
        refresh_user(self._request)
        may_see = self._admin.admin_site.has_permission(
            self._request
        ) and self._admin.has_view_permission(self._request)
        return may_see and (not self._is_tapped or self._admin.has_tap_permission(self._request))

    def _look(self) -> Connection | None:
        """Return the stream, if it is there, and the user may see it: as of now."""
        self._is_refused = not self._may_see()
        if self._is_refused:
            return None
        rows = self._admin.get_queryset(self._request)
        row: Connection | None = rows.filter(pk=self._connection).first()
        if row is not None and not self._is_reported:
            self._groups = frozenset(member.group for member in row.memberships.all())
        return row

    def _log_tap(self, row: Connection) -> None:
        text = _("Read the events of its groups.")
        kind = ContentType.objects.get_for_model(row, for_concrete_model=False)
        known = LogEntry.objects.filter(
            user_id=user_key(self._request),
            content_type=kind,
            object_id=row.pk,
            change_message=text,
            action_time__gt=timezone.now() - _SAME_TAP,
        )
        if not known.exists():
            self._admin.log(self._request, [row], text)

    async def _ask(self) -> None:
        """Look after the rights and the stream, and ask its worker to go on telling of it."""
        row = await sync_to_async(self._look)()
        if row is None:
            self._is_over = True
            await self._send("gone", {"is_refused": self._is_refused})
            return
        await tell_workers(Watch(connection=self._connection))
        if not self._is_reported:  # By a layer that does not reach it, or not yet.
            await self._send("counters", counters_of(row))
        self._is_reported = False

    async def _show(self, deliveries: Sequence[Delivery]) -> None:
        own = report_group(self._connection)
        reports = [delivery for delivery in deliveries if delivery.group == own]
        if reports:
            await self._show_report(reports[-1])
        tapped = [delivery for delivery in deliveries if delivery.group != own]
        if tapped:
            now = local_time(timezone.now())
            shown = [_row(delivery, now) for delivery in tapped[-_SHOWN_AT_ONCE:]]
            lost = self._tap.take_lost() + len(tapped) - len(shown)
            await self._send("tapped", {"events": shown[::-1], "lost": lost})
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _show_report(self, delivery: Delivery) -> None:
        try:
            report = StreamReport.read(delivery.event.data)
        except TypeError:
            return  # Somebody else has published to the group.
        self._is_reported = True
        await self._send("counters", counters_of(report))
        if self._groups != frozenset(report.groups) and not report.ended:
            self._groups = frozenset(report.groups)
            await self._tap.set_groups(self._wanted())
        if report.ended:
            self._is_over = True
            await self._send("gone", {"reason": report.ended})

    async def _send(self, name: str, context: dict[str, Any]) -> None:
        with translation.override(self._language):
            html = render_to_string(f"{_TEMPLATES}/_{name}.html", context)
        await self._stream.send(html, event=name)


def _row(delivery: Delivery, now: datetime.datetime) -> dict[str, Any]:
    event = delivery.event
    text = event.text() or ""
    return {
        "time": now,
        "group": delivery.group,
        "event": event.event or "message",
        "data": shortened(text, _MAX_SHOWN),
        "size": len(text.encode()),
    }
