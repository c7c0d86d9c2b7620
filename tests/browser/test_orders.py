"""Orders edited in Django's admin, in Chromium: the board changes, and an inbox."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import expect

from demo_project.accounts import ADMIN, PEOPLE
from tests.browser.processes import Demo, demo_environment
from tests.servers.processes import ROOT

pytestmark = pytest.mark.browser

PASSWORDS = dict(PEOPLE)
# What Chromium says of a connection that breaks, and of a server that is not there.
NETWORK_ERROR = "Failed to load resource: net::ERR_"


async def test_order_edited_in_the_admin(demo, visitors):
    """Added, packed, shipped, deleted: two pages of the owner follow, without a reload."""
    await visitors.sign_in(f"{demo.url}/login/", "grace", PASSWORDS["grace"])
    board = await visitors.live(f"{demo.url}/orders/", of="grace")
    inbox = await visitors.live(f"{demo.url}/inbox/", of="grace")
    await visitors.sign_in(f"{demo.url}/admin/login/", *ADMIN)
    editor = await visitors.page(f"{demo.url}/admin/orders/order/add/", of=ADMIN[0])

    async def save():
        async with editor.expect_event("load"):
            await editor.get_by_role("button", name="Save", exact=True).click()

    await editor.locator("[name=number]").fill("T-1")
    await editor.locator("[name=customer]").fill("Tea & <cake>")
    await editor.locator("[name=owner]").select_option("grace")
    await editor.locator("[name=total]").fill("12.5")
    await save()
    order = board.locator("#orders article", has_text="T-1")
    await expect(order).to_have_text("T-1 Tea & <cake> grace New € 12.50 Edit T-1")
    await expect(board.locator("#orders article").first).to_contain_text("T-1")
    # Who only reads is offered no editing.
    await expect(order.get_by_role("link")).to_have_text("T-1")

    row = editor.locator("#result_list tbody tr", has_text="T-1")
    await row.get_by_role("link", name="T-1").click()
    await editor.locator("[name=status]").select_option("packed")
    await save()
    await expect(order.locator(".badge")).to_have_text("Packed")
    note = inbox.locator("#notes article").first
    await expect(note.locator("p")).to_have_text("Order T-1 for Tea & <cake> is packed.")
    await expect(note.locator("b")).to_have_text("The shop")

    await row.locator("select").select_option("shipped")
    await save()
    await expect(order).to_have_count(0)
    await expect(note.locator("p")).to_have_text("Order T-1 for Tea & <cake> is shipped.")

    await row.locator("select").select_option("new")
    await save()
    await expect(board.locator("#orders article").first).to_contain_text("T-1")
    await row.locator("[name=_selected_action]").check()
    await editor.locator("select[name=action]").select_option("delete_selected")
    await editor.locator("button[name=index]").click()
    await editor.get_by_role("button", name="Yes").click()
    await expect(order).to_have_count(0)
    await expect(inbox.locator("#notes article")).to_have_count(4)  # One is of the demo's data.


async def test_order_changed_while_the_server_was_dead(tmp_path: Path, visitors):
    """
    What another process has saved meanwhile is on both pages once they are live again.

    The history that they had come to was the dead one's. They are told so, and load their lists.
    """
    demo = await Demo(tmp_path).ready()
    try:
        await visitors.sign_in(f"{demo.url}/login/", "alan", PASSWORDS["alan"])
        board = await visitors.live(f"{demo.url}/orders/", of="alan")
        inbox = await visitors.live(f"{demo.url}/inbox/", of="alan")
        await expect(board.locator("#orders article")).to_have_count(4)
        await visitors.sign_in(f"{demo.url}/admin/login/", *ADMIN)
        editor = await visitors.page(f"{demo.url}/admin/orders/order/", of=ADMIN[0])
        row = editor.locator("#result_list tbody tr", has_text="E-1936")
        await row.locator("select").select_option("new")
        await editor.get_by_role("button", name="Save", exact=True).click()
        await expect(inbox.locator("#notes article").first).to_contain_text("E-1936")
        order = board.locator("#orders article", has_text="E-1936")
        await expect(order.locator(".badge")).to_have_text("New")
        await editor.close()

        demo.send_signal(signal.SIGKILL)
        await demo.gone(within=5)
        for page in (board, inbox):
            await expect(page.locator("#connection")).to_have_text("Reconnecting")
        in_shell = (
            "from demo_project.orders.models import Order;"
            "order = Order.objects.get(number='E-1936');"
            "order.status = 'shipped';"
            "order.save()"
        )
        subprocess.run(
            [sys.executable, "manage.py", "shell", "-c", in_shell],
            cwd=ROOT,
            env={**os.environ, **demo_environment(tmp_path)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        demo = await Demo(tmp_path, port=demo.port).ready()
        for page in (board, inbox):
            await expect(page.locator("#connection")).to_have_text("Live", timeout=30_000)
        await expect(board.locator("#orders article")).to_have_count(3)
        await expect(board.locator("#orders")).not_to_contain_text("E-1936")
        await expect(inbox.locator("#notes article").first).to_contain_text("is shipped")
    finally:
        demo.stop()
    assert all(error.startswith(NETWORK_ERROR) for error in visitors.errors), visitors.errors
    visitors.errors.clear()
