"""An order's own page, and its stream: who is looking at the order, and what happens to it."""

from asgiref.sync import sync_to_async
from django.template.loader import render_to_string
from django.views.generic import DetailView

from demo_project.orders.models import Order
from demo_project.presence.people import people_of, with_reader
from django_sse import ServerSentEvent, aconnections, connections, event_stream, subscribe


class Page(DetailView):
    queryset = Order.objects.select_related("owner")
    template_name = "presence/order.html"

    def get_context_data(self, **kwargs):
        reader, there = self.request.user, connections(group=self.object.group)
        viewers = people_of(with_reader(there.users, reader), reader)
        return super().get_context_data(viewers=viewers, **kwargs)


@sync_to_async
def render(keys, reader):
    return render_to_string("presence/_viewers.html", {"viewers": people_of(keys, reader)})


@event_stream
async def changes(request, order: Order):
    """Who is looking; then who comes and goes, and what happens to the order."""
    reader = await request.auser()
    async with subscribe(order.group, presence=True) as events:
        # Asked inside: whoever comes or goes from here on is told. The registry is a second late,
        # and does not have this stream yet.
        there = await aconnections(group=order.group)
        html = await render(with_reader(there.users, reader), reader)
        yield ServerSentEvent(html, event="viewers")
        async for event in events:
            if event.event == "user_joined":
                html = await render([event.data["user"]], reader)
                event = ServerSentEvent(html, event="user_joined", id=event.id)
            yield event
