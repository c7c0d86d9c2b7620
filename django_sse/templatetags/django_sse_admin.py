"""``{% load django_sse_admin %}``: how the admin pages write figures."""

from django import template
from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext

__all__ = ["duration", "number", "percent", "rate", "register", "seconds", "size"]

register = template.Library()

_SIZES = ("B", "kB", "MB", "GB", "TB")
_NO_BREAK = "\N{NO-BREAK SPACE}"


def _fine(value: float) -> str:
    # number_format() does not round, it cuts.
    return number_format(round(value, 1), 1)


@register.filter
def number(value: float) -> str:
    """Write a whole number, with its thousands apart."""
    return number_format(round(value), force_grouping=True)


@register.filter
def rate(value: float) -> str:
    """Write what is told by the second: with a decimal where it is small."""
    if 0 < value < 0.05:
        return f"< {_fine(0.1)}"
    return _fine(value) if 0 < value < 9.95 else number(value)


@register.filter
def size(value: float) -> str:
    """Write so many bytes: 1.2 MB is 1,200,000."""
    unit = 0
    while value >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    text = _fine(value) if unit and value < 99.95 else number(value)
    return f"{text}{_NO_BREAK}{_SIZES[unit]}"


@register.filter
def percent(value: float) -> str:
    """Write a share."""
    return f"{number(100 * value)}{_NO_BREAK}%"


@register.filter
def seconds(value: float) -> str:
    """Write whole seconds: of what is known to the second."""
    return (gettext("%(count)s s") % {"count": number(value)}).replace(" ", _NO_BREAK)


@register.filter
def duration(value: float) -> str:
    """Write how long something takes: by its two greatest units, or in milliseconds."""
    if value < 1:
        return (gettext("%(count)s ms") % {"count": number(1000 * value)}).replace(" ", _NO_BREAK)
    if value < 60:
        return seconds(value)
    minutes = int(value // 60)
    hours, days = minutes // 60, minutes // 1440
    if days:
        whole = ngettext("%(count)s day", "%(count)s days", days) % {"count": number(days)}
        rest = gettext("%(count)s h") % {"count": hours % 24}
    elif hours:
        whole = gettext("%(count)s h") % {"count": hours}
        rest = gettext("%(count)s min") % {"count": minutes % 60}
    else:
        whole = gettext("%(count)s min") % {"count": minutes}
        rest = gettext("%(count)s s") % {"count": int(value % 60)}
    return f"{whole} {rest}".replace(" ", _NO_BREAK)
