"""How times, sizes and groups look in the admin."""

import datetime
import re
from collections.abc import Sequence

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

__all__ = [
    "age",
    "breakable",
    "chips",
    "duration",
    "grouped",
    "labelled",
    "number",
    "shortened",
    "size",
    "two_lines",
]

_SLASHES = re.compile(r"[^/]*/|[^/]+$")
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def duration(seconds: float) -> str:
    """Return *seconds* in the two largest units that say something, such as "2 h 5 min"."""
    whole = max(int(seconds), 0)
    if whole < _MINUTE:
        return _("%(seconds)d s") % {"seconds": whole}
    if whole < _HOUR:
        named = {"minutes": whole // _MINUTE, "seconds": whole % _MINUTE}
        return _("%(minutes)d min %(seconds)02d s") % named
    if whole < _DAY:
        named = {"hours": whole // _HOUR, "minutes": whole % _HOUR // _MINUTE}
        return _("%(hours)d h %(minutes)02d min") % named
    named = {"days": whole // _DAY, "hours": whole % _DAY // _HOUR}
    return _("%(days)d d %(hours)d h") % named


def local_time(moment: datetime.datetime) -> datetime.datetime:
    """Return *moment* as people read it; with ``USE_TZ`` off it is so already."""
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def age(moment: datetime.datetime) -> SafeString:
    """Return how long ago *moment* was; the moment itself is its title."""
    local = local_time(moment)
    return format_html(
        '<time class="sse-nowrap" datetime="{}" title="{}">{}</time>',
        local.isoformat(),
        date_format(local, "DATETIME_FORMAT"),
        duration((timezone.now() - moment).total_seconds()),
    )


def labelled(label: str, cell: str) -> SafeString:
    """Return *cell* with the head of its column, for a narrow page, which has no heads."""
    return format_html('<span class="sse-label" aria-hidden="true">{}</span>{}', label, cell)


def two_lines(first: str, second: str) -> SafeString:
    """Return a cell of two lines, the second one small."""
    return format_html('{}<span class="sse-sub">{}</span>', first, second)


def grouped(value: int) -> str:
    """Return a number whose digits are in groups of three."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def number(value: int, kind: str = "") -> SafeString:
    """Return a number for a column of numbers."""
    kind = kind if value else "sse-zero"
    return format_html('<span class="sse-number {}">{}</span>', kind, grouped(value))


def size(value: int) -> SafeString:
    """Return a number of bytes for a column of numbers; a dash where there are none."""
    if not value:
        return SafeString('<span class="sse-number sse-zero">-</span>')
    return format_html('<span class="sse-number">{}</span>', filesizeformat(value))


def breakable(path: str) -> SafeString:
    """Return a path that is broken behind its slashes, where there is no room for it."""
    return format_html_join(
        SafeString("<wbr>"), "{}", ((part,) for part in _SLASHES.findall(path))
    )


def chips(links: Sequence[tuple[str, str]], most: int) -> SafeString:
    """Return *links*, of which each is a name and an address, side by side; at most so many."""
    shown = format_html_join(
        " ",
        '<a class="sse-chip" href="{}" title="{}">{}</a>',
        ((url, name, shortened(name, 40)) for name, url in links[:most]),
    )
    rest = [name for name, _url in links[most:]]
    if not rest:
        return shown
    return format_html(
        '{} <span class="sse-quiet" title="{}">+{}</span>', shown, "\n".join(rest[:50]), len(rest)
    )


def shortened(text: str, most: int) -> str:
    """Return *text*, or the beginning of it."""
    return text if len(text) <= most else text[: most - 1] + "…"
