"""``python -m tests.faults.dying_publisher 5``: publish in a transaction, and die as it ends."""

import os
import signal
import sys

import django
from django.db import transaction

if __name__ == "__main__":
    django.setup()
    from django_sse import publish

    with transaction.atomic():
        # The first that runs after the commit: before the events get their numbers, or are sent.
        transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
        for number in map(int, sys.argv[1:]):
            publish("news", number)
