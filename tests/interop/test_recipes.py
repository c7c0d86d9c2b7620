"""The guides for others' libraries, as a reader follows them: each makes a project that runs."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.browser.processes import Visitors
from tests.test_docs import DOCS, EVENT_SECONDS, README, Project, blocks_of, stream

pytestmark = pytest.mark.slow

#: What the guides begin with: a project with the README's first stream.
BEFORE = {
    block.file: block.text.replace('"live"', '"shop"')
    for block in blocks_of(README)
    if block.file in {"mysite/settings.py", "mysite/asgi.py"}
}

#: What a reader copies from npm.
COPIED = {
    "htmx.md": {
        "htmx.min.js": "htmx.org/dist/htmx.min.js",
        "sse.min.js": "htmx-ext-sse/dist/sse.min.js",
    },
    "alpine.md": {"alpine.min.js": "alpinejs/dist/cdn.min.js"},
    "turbo-streams.md": {"turbo.js": "@hotwired/turbo/dist/turbo.es2017-esm.js"},
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Project]:
    """Return a function that makes the project of a guide."""

    def make_project(guide: str) -> Project:
        return Project(tmp_path, DOCS / "how-to" / guide, "shop", BEFORE)

    return make_project


@pytest.fixture
def address(
    request: pytest.FixtureRequest, make: Callable[[str], Project], npm: Path
) -> Iterator[str]:
    """The address of the orders in the project of a guide, which runs."""
    project = make(request.param)
    for name, path in COPIED[request.param].items():
        shutil.copyfile(npm / path, project.folder / "shop/static/shop" / name)
    with project.serve() as address:
        yield f"{address}/orders/"


@pytest.fixture
def _no_icon(address: str, visitors: Visitors) -> Iterator[None]:
    """Let the projects have no icon, for which browsers ask."""
    yield
    visitors.errors[:] = [e for e in visitors.errors if "404 (Not Found)" not in e]


async def add(page: Page, number: str) -> None:
    """Add an order, as a user of the page."""
    await page.locator("[name=number]").fill(number)
    await page.locator("form button").click()


async def add_by_visit(page: Page, number: str) -> None:
    """Add an order where the answer is the page anew; wait for that."""
    await add(page, number)
    await expect(page.locator("[name=number]")).to_have_value("")


async def give_up(page: Page, source: str) -> None:
    """Close the page's source as a browser does after a 502; wait until there is another one."""
    handle = await page.evaluate_handle(source)
    begun_at = await handle.evaluate("source => source.url")
    async with page.expect_request(re.compile("last_event_id=")) as reopening:
        await handle.evaluate("source => source.close()")
        await handle.evaluate("source => source.dispatchEvent(new Event('error'))")
    # It goes on from the last event, and not from where the page was rendered.
    assert (await reopening.value).url != begun_at


async def shows(page: Page, *rows: str) -> None:
    """Wait until the page shows these orders, and no others."""
    await expect(page.locator("li")).to_contain_text(rows)
    await expect(page.locator("li")).to_have_count(len(rows))


@pytest.mark.browser
@pytest.mark.usefixtures("_no_icon")
@pytest.mark.parametrize("address", ["htmx.md"], indirect=True)
async def test_htmx_page_is_live(address: str, visitors: Visitors) -> None:
    """Orders that one adds, ships and deletes are on the other's page; a row comes but once."""
    one, other = await visitors.page(address), await visitors.page(address)
    for number in ("A-1", "A-2"):
        await add(one, number)
    await shows(other, "A-1: new", "A-2: new")
    await other.get_by_role("button", name="Ship").first.click()
    await shows(one, "A-1: shipped", "A-2: new")
    await one.get_by_role("button", name="Delete").first.click()
    await shows(other, "A-2: new")
    # A row that is on the page when the event of it comes.
    late = await visitors.page(address)
    await late.evaluate("""
        document.querySelector("#orders").insertAdjacentHTML(
            "beforeend", '<li id="order-3">on the page</li>')
    """)
    await add(one, "A-3")
    await shows(late, "A-2: new", "A-3: new")


@pytest.mark.browser
@pytest.mark.usefixtures("_no_icon")
@pytest.mark.parametrize("address", ["alpine.md"], indirect=True)
async def test_alpine_page_is_live(address: str, visitors: Visitors) -> None:
    """Orders come and change; after the browser has given up, what was missed comes too."""
    one, other = await visitors.page(address), await visitors.page(address)
    await add(one, "A-1")
    await shows(other, "A-1: new")
    await give_up(other, "Alpine.$data(document.querySelector('main')).source")
    await add(one, "A-2")
    await shows(one, "A-1: new", "A-2: new")
    await one.evaluate("""
        fetch("/orders/1/ship/", {
            method: "POST", body: new FormData(document.querySelector("form")) })
    """)
    await shows(one, "A-1: shipped", "A-2: new")
    await shows(other, "A-1: shipped", "A-2: new")


@pytest.mark.browser
@pytest.mark.usefixtures("_no_icon")
@pytest.mark.parametrize("address", ["turbo-streams.md"], indirect=True)
async def test_turbo_page_is_live(address: str, visitors: Visitors) -> None:
    """Orders come; after the browser has given up, what was missed comes too, once."""
    one, other = await visitors.page(address), await visitors.page(address)
    await add_by_visit(one, "A-1")
    await shows(other, "A-1: new")
    await give_up(other, "document.querySelector('turbo-stream-source').streamSource")
    await add_by_visit(one, "A-2")
    await shows(one, "A-1: new", "A-2: new")
    await shows(other, "A-1: new", "A-2: new")
    # A new source, watched as the first was.
    await add_by_visit(one, "A-3")
    await shows(other, "A-1: new", "A-2: new", "A-3: new")


def shell(project: Project, code: str) -> str:
    """Return what *code* prints in the project's shell."""
    return project.run("manage.py", "shell", "--verbosity", "0", "--command", code).strip()


def check_api(
    project: Project, orders: str, keys: tuple[str, str], scheme: str, revoke: str, refusal: int
) -> None:
    """Check an API of orders with a stream: each user's own, by a key, until that is revoked."""
    ada, bob = ({"Authorization": f"{scheme} {key}"} for key in keys)
    events = f"{orders.rstrip('/')}/events{orders[-1] if orders.endswith('/') else ''}"
    reader = ThreadPoolExecutor(1)
    with project.serve() as address, httpx.Client(base_url=address, timeout=EVENT_SECONDS) as site:
        assert site.get(events).status_code == refusal
        assert site.get(events, headers={"Authorization": f"{scheme} x"}).status_code == refusal
        site.headers.update(ada)
        with stream(site, events) as incoming:
            for number, headers in (("B-1", bob), ("A-1", ada)):
                answer = site.post(orders, json={"number": number}, headers=headers)
                assert answer.is_success, answer.text
            # What is bob's has not come: his order was the first.
            name, data = next(incoming)
            assert (name, json.loads(data)) == ("order.created", answer.json())
            assert answer.json() == {"id": 2, "number": "A-1", "status": "new"}
            assert site.get(orders).json() == [answer.json()]
            shell(project, revoke)
            # Heartbeats would keep a plain read waiting for ever.
            assert reader.submit(list, incoming).result(EVENT_SECONDS) == []
        assert site.get(events).status_code == refusal


@pytest.fixture
def _soon_rechecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the guides' streams rechecked each second."""
    write = Project._write
    monkeypatch.setattr(
        Project,
        "_write",
        lambda self, path, text: write(self, path, text.replace("recheck=30", "recheck=1")),
    )


@pytest.mark.usefixtures("_soon_rechecked")
def test_rest_framework_project_runs(make: Callable[[str], Project]) -> None:
    """The stream authenticates as the API does, and has the serializer's data."""
    project = make("django-rest-framework.md")
    shell(project, "User.objects.create_user('ada'), User.objects.create_user('bob')")
    keys = [project.run("manage.py", "drf_create_token", n).split()[2] for n in ("ada", "bob")]
    revoke = (
        "from rest_framework.authtoken.models import Token; Token.objects.get(user_id=1).delete()"
    )
    check_api(project, "/api/orders/", (keys[0], keys[1]), "Token", revoke, 403)


@pytest.mark.usefixtures("_soon_rechecked")
def test_ninja_project_runs(make: Callable[[str], Project]) -> None:
    """The stream is an operation of the API, and has the schema's data."""
    project = make("django-ninja.md")
    shell(
        project,
        "for n in 'ada', 'bob': ApiKey.objects.create(owner=User.objects.create_user(n), key=n)",
    )
    revoke = "ApiKey.objects.get(key='ada').delete()"
    check_api(project, "/api/orders", ("ada", "bob"), "Bearer", revoke, 401)
