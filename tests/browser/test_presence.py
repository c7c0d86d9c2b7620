"""Who is looking at an order, in Chromium: people with tabs, a killed browser, a server anew."""

import signal
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from demo_project.accounts import ADMIN, PEOPLE
from tests.browser.chromium import Chromium
from tests.browser.processes import Demo, Visitors

pytestmark = pytest.mark.browser

PASSWORDS = dict(PEOPLE)


async def open_order(demo: Demo, visitors: Visitors, number: str, *, of: str) -> Page:
    """Follow the board's link to the order."""
    page = await visitors.live(f"{demo.url}/orders/", of=of)
    await page.get_by_role("link", name=number, exact=True).click()
    await expect(page).to_have_title(f"Order {number} · django_sse")
    await expect(page.locator("#connection")).to_have_text("Live")
    return page


async def sees(page: Page, *names: str) -> None:
    """Wait until *page* shows these people, each once, and the reader as such."""
    await expect(page.locator("#viewers li")).to_have_text(names)


async def test_each_person_is_there_once_while_a_tab_is(demo, visitors):
    """Names come and go with the first tab and the last; who is not signed in is no name."""
    for name in ("ada", "grace", "alan"):
        await visitors.sign_in(f"{demo.url}/login/", name, PASSWORDS[name])
    ada = await open_order(demo, visitors, "E-1959", of="ada")
    await sees(ada, "AL Ada Lovelace you")
    stranger = await open_order(demo, visitors, "E-1959", of="a stranger")
    await expect(stranger.locator("#main")).to_contain_text("You look on unseen.")
    elsewhere = await open_order(demo, visitors, "E-1944", of="alan")
    await sees(elsewhere, "AT Alan Turing you")
    grace = [await open_order(demo, visitors, "E-1959", of="grace") for _ in range(2)]
    await sees(ada, "AL Ada Lovelace you", "GH Grace Hopper")
    for page in grace:
        await sees(page, "AL Ada Lovelace", "GH Grace Hopper you")
    await sees(stranger, "AL Ada Lovelace", "GH Grace Hopper")

    alan = await open_order(demo, visitors, "E-1959", of="alan")
    for page in (ada, stranger):
        await expect(page.locator("#viewers li").last).to_have_text("AT Alan Turing")
    await grace[0].close()
    await alan.close()
    await sees(ada, "AL Ada Lovelace you", "GH Grace Hopper")
    await ada.reload()
    await sees(ada, "AL Ada Lovelace you", "GH Grace Hopper")
    await grace[1].close()
    await sees(ada, "AL Ada Lovelace you")
    await sees(stranger, "AL Ada Lovelace")
    await sees(elsewhere, "AT Alan Turing you")
    await ada.close()
    await expect(stranger.locator("main .empty")).to_have_text("Nobody who is signed in.")


async def test_killed_browser_is_gone(demo, visitors, owner: Visitors, own_chromium: Chromium):
    """It closes nothing in order, and yet the others are told."""
    await visitors.sign_in(f"{demo.url}/login/", "ada", PASSWORDS["ada"])
    await owner.sign_in(f"{demo.url}/login/", "grace", PASSWORDS["grace"])
    ada = await open_order(demo, visitors, "E-1959", of="ada")
    grace = await open_order(demo, owner, "E-1959", of="grace")
    await sees(ada, "AL Ada Lovelace you", "GH Grace Hopper")
    await sees(grace, "AL Ada Lovelace", "GH Grace Hopper you")
    own_chromium.send_signal_to_all(signal.SIGKILL)
    await sees(ada, "AL Ada Lovelace you")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_list_is_right_after_the_server_comes_back(
    how: signal.Signals, tmp_path: Path, visitors
):
    """Who comes back is there once; who does not is gone, within the lease of a killed server."""
    demo = await Demo(tmp_path).ready()
    try:
        for name in ("ada", "grace", "alan"):
            await visitors.sign_in(f"{demo.url}/login/", name, PASSWORDS[name])
        ada, grace, alan = [
            await open_order(demo, visitors, "E-1959", of=name)
            for name in ("ada", "grace", "alan")
        ]
        for page in (ada, grace, alan):
            await expect(page.locator("#viewers li")).to_have_count(3)
        demo.send_signal(how)
        await demo.gone(within=30)
        for page in (ada, grace):
            await expect(page.locator("#connection")).to_have_text("Reconnecting")
        await alan.close()
        demo = await Demo(tmp_path, port=demo.port).ready()
        for page, other in ((ada, "GH Grace Hopper"), (grace, "AL Ada Lovelace")):
            await expect(page.locator("#connection")).to_have_text("Live")
            shown = page.locator("#viewers li")
            await expect(shown).to_have_count(2)
            await expect(shown.filter(has_text="you")).to_have_count(1)
            await expect(shown.filter(has_not_text="you")).to_have_text(other)
        for page in (ada, grace):
            await page.close()  # Before the server: a page that has lost it says so at any time.
    finally:
        demo.stop()
    visitors.forgive_network_errors()


async def test_order_changes_before_those_who_look_at_it(demo, visitors):
    """What is saved in the admin is on the order's page: its status, and that it is deleted."""
    await visitors.sign_in(f"{demo.url}/admin/login/", *ADMIN)
    page = await open_order(demo, visitors, "E-1936", of=ADMIN[0])
    await expect(page.locator("h1")).to_have_text("Order E-1936 Packed")
    await sees(page, "AD admin you")
    editor = await visitors.page(page.url, of=ADMIN[0])
    await editor.get_by_role("link", name="Change it in the admin").click()
    await editor.locator("[name=status]").select_option("shipped")
    await editor.get_by_role("button", name="Save", exact=True).click()
    await expect(page.locator("h1")).to_have_text("Order E-1936 Shipped")
    await expect(page.locator(".steps")).to_have_attribute("data-state", "shipped")
    await editor.get_by_role("link", name="E-1936", exact=True).first.click()
    await editor.wait_for_url("**/change/")
    await editor.goto(editor.url.replace("/change/", "/delete/"))
    await editor.get_by_role("button", name="Yes").click()
    await expect(page.locator("#order .error")).to_have_text("This order has been deleted.")
    await sees(page, "AD admin you")
