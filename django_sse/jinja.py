"""The same functions for Jinja2, as an extension of it."""

from typing import Any

from jinja2 import Environment, pass_context
from jinja2.ext import Extension
from jinja2.runtime import Context
from markupsafe import Markup

from django_sse import markup

__all__ = ["EventSourceExtension"]

_KEY = "_django_sse"


class EventSourceExtension(Extension):
    """Gives all templates of *environment* ``event_source()`` and its kin."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update(
            event_source=event_source,
            event_source_script=event_source_script,
            event_source_url=event_source_url,
        )
        base = environment.context_class
        if not issubclass(base, _PageContext):
            environment.context_class = type("PageContext", (_PageContext, base), {})


class _PageContext(Context):
    """A context that knows what its page has; those of included templates get it with the rest."""

    def __init__(self, environment: Any, parent: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(environment, parent, *args, **kwargs)
        self.parent.setdefault(_KEY, set())


@pass_context
def event_source(context: Context, *args: Any, **kwargs: Any) -> Markup:
    """Return an ``<event-source>``. See django_sse.markup.event_source()."""
    return Markup(markup.event_source(_page(context), args, kwargs))


@pass_context
def event_source_url(context: Context, *args: Any, **kwargs: Any) -> str:
    """Return the URL of a stream. See django_sse.markup.event_source_url()."""
    return markup.event_source_url(_page(context), args, kwargs)


@pass_context
def event_source_script(context: Context) -> Markup:
    """Return the script of the element. See django_sse.markup.event_source_script()."""
    return Markup(markup.event_source_script(_page(context)))


def _page(context: Context) -> markup.Page:
    return markup.Page(context.get("request"), context.get("csp_nonce"), context[_KEY])
