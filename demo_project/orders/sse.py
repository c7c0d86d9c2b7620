"""What is published of orders, whoever saves them. It is found as ``admin.py`` is."""

from django.template.loader import render_to_string

from demo_project.orders.models import Order
from django_sse import ModelPublisher, register


@register(Order)
class OrderPublisher(ModelPublisher):
    """The board is told of open orders; one that is shipped is deleted there."""

    template_name = "orders/_order.html"

    def get_groups(self, instance):
        return ["orders"] if instance.status in Order.OPEN else []


@register(Order)
class DetailsPublisher(ModelPublisher):
    """An order's own page shows it in every state, and says that it is deleted."""

    on = ["updated", "deleted"]

    def get_groups(self, instance):
        return [instance.group]

    def get_data(self, instance, change):
        return render_to_string("orders/_details.html", {"order": instance, "change": change})
