"""What is published of orders, whoever saves them. It is found as ``admin.py`` is."""

from demo_project.orders.models import Order
from django_sse import ModelPublisher, register


@register(Order)
class OrderPublisher(ModelPublisher):
    """The board is told of open orders; one that is shipped is deleted there."""

    template_name = "orders/_order.html"

    def get_groups(self, instance):
        return ["orders"] if instance.status in Order.OPEN else []
