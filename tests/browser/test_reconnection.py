"""The demo in Chromium, and a server that dies."""

import signal

import pytest
from playwright.async_api import expect

from demo_project.accounts import PEOPLE
from tests.browser.processes import Demo

pytestmark = pytest.mark.browser

# What Chromium says of a connection that breaks, and of a server that is not there.
NETWORK_ERROR = "Failed to load resource: net::ERR_"


@pytest.fixture
def start(tmp_path):
    """Return a function that starts the demo; it keeps its database and its port."""
    demos: list[Demo] = []

    def start_again() -> Demo:
        demos.append(Demo(tmp_path, port=demos[0].port if demos else None))
        return demos[-1]

    yield start_again
    for demo in demos:
        demo.stop()


async def test_pages_reconnect_after_the_server_was_killed(start, visitors):
    """A killed server shows; once it is back each page goes on by itself, up to date."""
    demo = await start().ready()
    await visitors.sign_in(f"{demo.url}/login/", *PEOPLE[0])
    metrics = await visitors.live(f"{demo.url}/metrics/")
    inbox = await visitors.live(f"{demo.url}/inbox/", of=PEOPLE[0][0])
    count = await inbox.locator("#notes article").count()

    demo.send_signal(signal.SIGKILL)
    await demo.gone()
    for page in (metrics, inbox):
        await expect(page.locator("#connection")).to_have_text("Reconnecting")
    shown = await metrics.locator("#cpu-chart .line").get_attribute("d")

    demo = await start().ready()
    for page in (metrics, inbox):
        await expect(page.locator("#connection")).to_have_text("Live")
    await expect(metrics.locator("#cpu-chart .line")).not_to_have_attribute("d", shown or "")
    await expect(inbox.locator("#notes article")).to_have_count(count)

    assert all(error.startswith(NETWORK_ERROR) for error in visitors.errors), visitors.errors
    visitors.errors.clear()
