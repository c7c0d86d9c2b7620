"""The command that fills the demo's database."""

from decimal import Decimal

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management.base import BaseCommand
from django.db import transaction

from demo_project.accounts import ADMIN, FULL_NAMES, OPERATOR, OPERATOR_MAY, PEOPLE
from demo_project.board.models import Announcement
from demo_project.builds.runner import interrupt_abandoned
from demo_project.inbox.models import Note
from demo_project.orders.models import Order

ANNOUNCEMENTS = [
    (
        "Edit me in the admin",
        "Open the admin in a second window, change this text and save it. It changes here, and on"
        " every other page that shows the board, as soon as the transaction is committed.",
    ),
    (
        "Streams hold no thread and no database connection",
        "Django answers the request and is done with it. However many tabs you open, the metrics"
        " page counts the same handful of threads.",
    ),
    (
        "Stop the server and start it again",
        "The dot at the top turns to amber. When the server is back, each page connects again by"
        " itself and is brought up to date.",
    ),
]
NOTES = [
    ("grace", "ada", "The compiler is done. It even corrects my spelling."),
    ("alan", "ada", "Could your engine decide whether it will ever stop?"),
    ("ada", "grace", "I wrote the program. Now I only need the machine."),
]
# The last is the newest.
ORDERS = [
    ("E-1837", "Analytical Engines", "ada", "shipped", "2450.00"),
    ("E-1936", "Bletchley Park", "alan", "packed", "412.50"),
    ("E-1944", "Harvard Mark I", "grace", "new", "96.00"),
    ("E-1952", "Flow-Matic & Sons", "grace", "packed", "1208.90"),
    ("E-1959", "The Difference Shop", "ada", "new", "78.25"),
]


class Command(BaseCommand):
    """Creates what is missing, and prints the logins. It may be run any number of times."""

    help = "Create announcements, users, notes and orders for the demo, and print the logins."

    @transaction.atomic
    def handle(self, *args, **options):
        users = {name: self._user(name, password) for name, password in PEOPLE}
        self._user(*ADMIN, is_staff=True, is_superuser=True)
        own = Permission.objects.filter(content_type__app_label="django_sse")
        operator = self._user(*OPERATOR, is_staff=True)
        operator.user_permissions.set(own.filter(codename__in=OPERATOR_MAY))
        for title, body in reversed(ANNOUNCEMENTS):
            if not Announcement.objects.filter(title=title).exists():
                Announcement.objects.create(title=title, body=body)
        for sender, recipient, body in NOTES:
            Note.objects.get_or_create(sender=users[sender], recipient=users[recipient], body=body)
        for number, customer, owner, status, total in ORDERS:
            details = {"owner": users[owner], "status": status, "total": Decimal(total)}
            Order.objects.get_or_create(number=number, defaults={"customer": customer, **details})
        # No server is running: what was running with the last one is not any more.
        interrupt_abandoned()
        self._print_logins()

    def _user(self, name, password, **flags):
        user, _ = get_user_model().objects.get_or_create(username=name, defaults=flags)
        user.first_name, user.last_name = FULL_NAMES.get(name, ("", ""))
        if not user.check_password(password):
            user.set_password(password)
        user.save()
        return user

    def _print_logins(self):
        self.stdout.write(self.style.SUCCESS("The demo's data is there. Logins:"))
        self.stdout.write(f"  {ADMIN[0]} / {ADMIN[1]}   for /admin/ and the staff's inbox")
        self.stdout.write(
            f"  {OPERATOR[0]} / {OPERATOR[1]}   for /admin/: may see and close streams"
        )
        for name, password in PEOPLE:
            self.stdout.write(f"  {name} / {password}")
