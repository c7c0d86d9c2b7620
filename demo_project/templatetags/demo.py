"""``{% load demo %}``: what the demo's own pages need."""

from django import template

from demo_project.sources import sources_of

register = template.Library()


@register.inclusion_tag("_source.html", takes_context=True)
def source_of_page(context):
    """Show the files that the page is made of."""
    match = getattr(context.get("request"), "resolver_match", None)
    sources = sources_of(match.view_name) if match else []
    return {"sources": sources, "tags": sources[0].tags if sources else []}
