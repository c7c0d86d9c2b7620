"""A running demo, and visitors to it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from playwright.async_api import async_playwright, expect

from tests.browser.processes import Demo, Visitors
from tests.servers.processes import running
from tests.services import require_chromium

#: How long a test waits for what a page is to show, and for Chromium to start.
TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Show what the demo has written, where a test fails."""
    report = yield
    if report.failed:
        for process in running:
            report.sections.append((f"output of {process.name}", process.output[-8000:]))
    return report


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium."""
    return require_chromium()


@pytest.fixture(scope="module")
def _demo(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("demo"))
    yield demo
    demo.stop()


@pytest.fixture
async def demo(_demo: Demo) -> Demo:
    """The demo, answering. All tests of a module share it."""
    return await _demo.ready()


@pytest.fixture
async def visitors(chromium: str) -> AsyncIterator[Visitors]:
    """Return the people at their browsers; in the end no page may have complained."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=FLAGS, timeout=TIMEOUT_MS
        )
        visitors = Visitors(browser)
        yield visitors
        await browser.close()
    assert visitors.errors == []
