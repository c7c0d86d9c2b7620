"""Tabs that share a stream: which of them leads, and how a tab hangs."""

from collections.abc import Iterable

from playwright.async_api import Dialog, Page

from tests.servers.waiting import eventually

__all__ = ["hang", "leader_of"]

_LEADS = """
async () => {
    const [mine, all] = await navigator.locks.request("who am I?", async () => {
        const { held } = await navigator.locks.query();
        return [held.find(({ name }) => name === "who am I?"), held];
    });
    return all.some(
        ({ name, clientId }) => name.startsWith("django-sse:") && clientId === mine.clientId,
    );
}
"""


async def leader_of(pages: Iterable[Page]) -> Page:
    """Return the one of *pages* that leads."""

    async def leader() -> Page | None:
        for page in pages:
            if await page.evaluate(_LEADS):
                return page
        return None

    found: Page = await eventually(leader)
    return found


async def hang(page: Page) -> Dialog:
    """Let no code of *page* run, as its reader does who leaves a dialog open; return that."""
    async with page.expect_event("dialog") as told:
        await page.evaluate("() => { setTimeout(() => alert('Are you still there?')) }")
    return await told.value
