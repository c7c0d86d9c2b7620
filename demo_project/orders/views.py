"""The open orders. Their stream needs no view: the template names its group."""

from django.views.generic import ListView

from demo_project.orders.models import Order


class Page(ListView):
    queryset = Order.objects.filter(status__in=Order.OPEN).select_related("owner")
    template_name = "orders/page.html"
