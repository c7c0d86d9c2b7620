"""``{% load django_sse %}``: the tags for Django's templates."""

from typing import Any

from django import template
from django.template.context import Context
from django.utils.safestring import SafeString

from django_sse import markup

__all__ = ["event_source", "event_source_script", "event_source_url", "register"]

register = template.Library()


@register.simple_tag(takes_context=True)
def event_source(context: Context, *args: Any, **kwargs: Any) -> SafeString:
    """Render an ``<event-source>``. See django_sse.markup.event_source()."""
    return markup.event_source(_page(context), args, kwargs)


@register.simple_tag(takes_context=True)
def event_source_url(context: Context, *args: Any, **kwargs: Any) -> str:
    """Return the URL of a stream. See django_sse.markup.event_source_url()."""
    return markup.event_source_url(_page(context), args, kwargs)


@register.simple_tag(takes_context=True)
def event_source_script(context: Context) -> SafeString:
    """Render the script of the element. See django_sse.markup.event_source_script()."""
    return markup.event_source_script(_page(context))


def _page(context: Context) -> markup.Page:
    # Without the context processor a template has no such variable, but its context the request.
    request = getattr(context, "request", None) or context.get("request")
    # The lowest layer is that of the whole render; includes have one of their own above it.
    lowest: Any = context.render_context.dicts[0]
    rendered: set[str] = lowest.setdefault("django_sse", set())
    return markup.Page(request, context.get("csp_nonce"), rendered)
