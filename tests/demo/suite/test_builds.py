"""Builds, and the status that answers browsers and plain clients."""

import signal
import subprocess

import pytest

from demo_project import compiler
from demo_project.builds import runner
from demo_project.builds.models import Build
from demo_project.builds.runner import run
from django_sse.testing import ReceivedEvent


async def follow(stream):
    """Return all the events of a build's stream, which ends by itself."""
    events: list[ReceivedEvent] = []
    while not events or events[-1].event != "done":
        events.append(await stream.next_event())
    await stream.ended()
    return events


async def test_build_is_followed_to_its_end(asgi, post):
    """What the compiler prints comes line by line; then the stream is ended by the server."""
    answer = await post(asgi, "/builds/", target="this demo")
    assert answer.status == 302
    page = answer.headers["location"]
    stream = await asgi.open(f"{page}status/")
    assert stream.headers["content-type"] == "text/event-stream"
    first, *rest = await follow(stream)
    assert first.event == "state"
    lines = first.json()["log"] + [e.json()["text"].strip() for e in rest if e.event == "line"]
    assert "Compiling 'demo_project/builds/runner.py'..." in lines
    last = rest[-1].json()
    assert last["state"] == "passed"
    assert last["done"] == last["total"] == len(lines)
    build = await Build.objects.aget()
    assert build.log.splitlines() == lines


async def test_status_is_plain_json_to_curl(asgi, transactional_db):
    """A client that asks for no event stream is answered with the state, once."""
    build = await Build.objects.acreate(target="Django", done=1, total=2, log="one\ntwo\n")
    answer = await asgi.get(f"/builds/{build.pk}/status/", headers={"accept": "*/*"})
    assert answer.headers["content-type"] == "application/json"
    assert b'"state": "running", "done": 1, "total": 2' in answer.body
    assert b'"log": ["one", "two"]' in answer.body


async def test_status_of_a_build_that_is_over(asgi, transactional_db):
    """Who comes late is told how it ended, and the stream ends."""
    build = await Build.objects.acreate(target="Django", state="passed", log="one\n")
    stream = await asgi.open(f"/builds/{build.pk}/status/")
    assert (await stream.next_event()).json()["state"] == "passed"
    await stream.ended()


async def test_status_of_no_build(asgi, transactional_db):
    """A build that does not exist is a 404, not a stream."""
    assert (await asgi.get("/builds/404/status/")).status == 404


@pytest.mark.django_db(transaction=True)
def test_run_fails_on_a_mistake():
    """A source that does not compile makes the build fail, and its log says why."""
    build = Build.objects.create(target="a mistake")
    run(build)
    build.refresh_from_db()
    assert build.state == "failed"
    assert "SyntaxError" in build.log
    assert build.ended_at


async def test_start_after_a_build_was_cut_off(asgi, post, transactional_db):
    """A build of a process that has gone does not block the next; pages on it are told its end."""
    cut_off = await Build.objects.acreate(target="Django")
    page = await asgi.open(f"/builds/{cut_off.pk}/status/")
    assert (await page.next_event()).json()["state"] == "running"
    overview = await asgi.open("/builds/stream/")
    answer = await post(asgi, "/builds/", target="this demo")
    assert answer.headers["location"] != f"/builds/{cut_off.pk}/"
    event = await page.next_event()
    assert (event.event, event.json()["state"]) == ("done", "interrupted")
    await page.ended()
    first = (await overview.next_event()).json()
    assert (first["pk"], first["state"]) == (cut_off.pk, "interrupted")
    await cut_off.arefresh_from_db()
    assert cut_off.state == "interrupted"
    assert cut_off.ended_at
    await follow(await asgi.open(f"{answer.headers['location']}status/"))


@pytest.mark.django_db(transaction=True)
def test_run_that_fails_ends_its_process(monkeypatch):
    """An error in the thread leaves no process behind, and no build that counts as running."""
    started = []

    class Process(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)

    def fail(*args, **details):
        raise ConnectionError

    monkeypatch.setattr(compiler, "Popen", Process)
    monkeypatch.setattr(runner, "publish", fail)
    build = Build.objects.create(target="Django")
    runner.running.add(build.pk)
    with pytest.raises(ConnectionError):
        run(build)
    assert [process.returncode for process in started] == [-signal.SIGKILL]
    assert build.pk not in runner.running


async def test_start_while_one_is_running(asgi, post, transactional_db, monkeypatch):
    """One build runs at a time: the form leads to the one that does."""
    build = await Build.objects.acreate(target="Django")
    monkeypatch.setattr(runner, "running", {build.pk})
    answer = await post(asgi, "/builds/", target="this demo")
    assert answer.headers["location"] == f"/builds/{build.pk}/"
    assert await Build.objects.acount() == 1
