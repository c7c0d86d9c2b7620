"""A change of an order's status is a note to its owner, in the same transaction."""

from django.db.models.signals import post_save, pre_save
from django.dispatch import receiver

from demo_project.inbox.models import Note
from demo_project.orders.models import Order


@receiver(pre_save, sender=Order)
def remember_status(instance, raw, using, **kwargs):
    if not raw:
        saved = Order.objects.using(using).filter(pk=instance.pk)
        instance.status_before = saved.values_list("status", flat=True).first()


@receiver(post_save, sender=Order)
def notify_owner(instance, created, raw, using, **kwargs):
    if raw or created or instance.status == instance.status_before:
        return
    status = Order.Status(instance.status).label.lower()
    body = f"Order {instance.number} for {instance.customer} is {status}."
    Note.objects.using(using).create(recipient_id=instance.owner_id, body=body)
