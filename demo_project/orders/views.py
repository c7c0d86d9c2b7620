"""The open orders, and their stream. Who changes them is no concern of these views."""

from django.template.loader import render_to_string
from django.views.generic import ListView

from demo_project.orders.models import Order
from django_sse import EventStreamView, ServerSentEvent

OPEN = Order.objects.filter(status__in=Order.OPEN).select_related("owner")


class Page(ListView):
    queryset = OPEN
    template_name = "orders/page.html"


class Stream(EventStreamView):
    groups = "orders"

    def get_initial(self):
        """Send the board as it is: a page may have missed something before it connected."""
        html = render_to_string("orders/_orders.html", {"order_list": OPEN.all()})
        return [ServerSentEvent(html, event="orders")]
