"""Runs a build in a thread, and publishes each line of its output."""

from contextlib import closing
from threading import Lock, Thread

from django.db import connection
from django.db.models import Value
from django.db.models.functions import Concat
from django.utils import timezone

from demo_project.builds.models import Build
from demo_project.compiler import compiling
from django_sse import publish

running: set[int] = set()  # primary keys of the builds of this process
_starting = Lock()


def start(target: str) -> Build:
    """Start a build of *target* in a thread, unless one is running; return the one that is."""
    with _starting:
        interrupt_abandoned()
        build = Build.objects.filter(state="running").first()
        if build is None:
            build = Build.objects.create(target=target)
            running.add(build.pk)
            Thread(target=run, args=[build], daemon=True).start()
    return build


def interrupt_abandoned() -> None:
    """
    Mark the builds that a reload or a crash has cut off, and tell the pages that are open on them.

    They are those that are not of this process: builds are for one process of the demo.
    """
    for build in Build.objects.filter(state="running").exclude(pk__in=running):
        _end(build, "interrupted")


def run(build: Build) -> None:
    """Run *build*, in a thread of its own: publish() needs no event loop."""
    try:
        with closing(connection), compiling(build.target) as (build.total, process):
            lines = (line for line in process.stdout or () if not line.startswith("Listing"))
            for number, line in enumerate(lines, start=1):
                build.done += line.startswith("Compiling")
                _publish(build, "line", number=number, text=line)
            code = process.wait()
            _end(build, "interrupted" if code < 0 else "failed" if code else "passed")
    finally:
        running.discard(build.pk)


def _end(build: Build, state: str) -> None:
    build.state, build.ended_at = state, timezone.now()
    _publish(build, "done")


def _publish(build: Build, event: str, text: str = "", **details: object) -> None:
    # Saved first: who opens the page between the two reads it there, and is told it again.
    build.log = Concat("log", Value(text))
    build.save()
    publish(f"build.{build.pk}", {**build.progress(), "text": text, **details}, event=event)
    publish("builds", build.progress(), event="progress", key=str(build.pk))
