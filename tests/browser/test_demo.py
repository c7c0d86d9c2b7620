"""The demo in Chromium: each page changes by itself."""

import asyncio
import re

import pytest
from playwright.async_api import expect

from demo_project.accounts import ADMIN, PEOPLE
from tests.servers.waiting import eventually

pytestmark = pytest.mark.browser

PASSWORDS = dict(PEOPLE)


async def hide(page, is_hidden=True):
    """Let the page find that its tab is hidden, or shown again."""
    await page.evaluate(
        """isHidden => {
            Object.defineProperty(document, "hidden", { value: isHidden, configurable: true })
            document.dispatchEvent(new Event("visibilitychange"))
        }""",
        is_hidden,
    )


async def test_metrics_change(demo, visitors):
    """The charts grow, viewers are counted, a hidden tab is none; the server says who left."""
    page = await visitors.live(f"{demo.url}/metrics/")
    line = page.locator("#cpu-chart .line")
    await expect(line).to_have_attribute("d", re.compile(r"M300\.0 "))
    await expect(line).to_have_attribute("d", re.compile(r"L.*L"))  # two more samples
    await expect(page.locator("#cpu")).to_have_text(re.compile(r"^\d+$"))
    await expect(page.locator("#memory-total")).to_have_text(re.compile(r"^[\d.]+ .B$"))

    other = await visitors.live(f"{demo.url}/metrics/")
    await expect(page.locator("#watchers")).to_have_text("2")
    await expect(page.locator("#watchers-label")).to_have_text("pages watching")
    await other.close()
    await expect(page.locator("#watchers")).to_have_text("1")
    await expect(page.locator("#watchers-label")).to_have_text("page watching")

    await hide(page)
    await expect(page.locator("#connection")).to_have_text("Paused")
    await hide(page, False)
    await expect(page.locator("#connection")).to_have_text("Live")
    await expect(page.locator("#watchers")).to_have_text("1")
    assert re.search(r"Stream \w+ opened: /metrics/stream/, user -\n", demo.output)
    closed = r"Stream \w+ closed \(client left\): /metrics/stream/, user -, [\d.]+ s, \d+ events"
    await eventually(lambda: re.search(closed, demo.output))


async def test_empty_lists_say_so(demo, visitors):
    """Where nothing has been built, heard or written yet, a line says that, and goes then."""
    builds = await visitors.live(f"{demo.url}/builds/")
    await expect(builds.locator("main .empty")).to_have_text("Nothing has been built yet.")
    broadcast = await visitors.live(f"{demo.url}/broadcast/")
    nothing = broadcast.locator("main .empty")
    await expect(nothing).to_have_text("Nothing yet.")
    await broadcast.get_by_label("Message to everyone").fill("Tea")
    await broadcast.get_by_role("button", name="Broadcast").click()
    await expect(nothing).to_be_hidden()
    board = await visitors.live(f"{demo.url}/board/")
    await expect(board.locator("main .empty")).to_be_hidden()


async def test_build_runs_to_its_end(demo, visitors):
    """A build's lines come while it runs; its end closes the stream, and other pages know."""
    overview = await visitors.live(f"{demo.url}/builds/", of="a colleague")
    page = await visitors.live(f"{demo.url}/builds/")
    await page.get_by_role("button", name="Build Django").click()
    await expect(page.locator("#state")).to_have_text("running")
    await expect(page.locator("#log")).to_contain_text("Compiling 'django/")
    await expect(overview.locator("[data-field=state]").first).to_have_text("running")
    await expect(page.locator("#state")).to_have_text("passed", timeout=300_000)
    await expect(page.locator("#connection")).to_have_text("Closed")
    await expect(page.locator("#done")).to_have_text(await page.locator("#total").inner_text())
    await expect(overview.locator("[data-field=state]").first).to_have_text("passed")
    log = await page.locator("#log").inner_text()
    lines = log.splitlines()
    assert len(set(lines)) == len(lines) == int(await page.locator("#total").inner_text())


async def test_announcement_saved_in_the_admin(demo, visitors):
    """What is saved in the admin stands on a reader's page, without a reload."""
    reader = await visitors.live(f"{demo.url}/board/", of="a reader")
    await visitors.sign_in(f"{demo.url}/admin/login/", *ADMIN)
    editor = await visitors.page(f"{demo.url}/admin/board/announcement/add/", of=ADMIN[0])
    await editor.locator("[name=title]").fill("Tea & <cake> at four")
    await editor.locator("[name=body]").fill("In the kitchen.")
    await editor.get_by_role("button", name="Save", exact=True).click()
    article = reader.locator("article").first
    await expect(article.locator("h2")).to_have_text("Tea & <cake> at four")

    # Who only reads is offered no editing.
    await expect(article.get_by_role("link")).to_have_count(0)
    board = await visitors.live(f"{demo.url}/board/", of=ADMIN[0])
    await expect(board.locator("article").first.get_by_role("link")).to_have_count(2)
    await board.close()

    await editor.get_by_role("link", name="Tea & <cake> at four").first.click()
    await editor.locator("[name=title]").fill("Tea at five")
    await editor.get_by_role("button", name="Save", exact=True).click()
    await expect(article.locator("h2")).to_have_text("Tea at five")

    await editor.get_by_role("link", name="Tea at five").first.click()
    await editor.wait_for_url("**/change/")
    await editor.goto(editor.url.replace("/change/", "/delete/"))
    await editor.get_by_role("button", name="Yes").click()
    await expect(reader.locator("h2", has_text="Tea at five")).to_have_count(0)


async def test_long_words_stay_on_a_narrow_screen(demo, visitors):
    """No page has to be moved sideways on a telephone, whatever people write."""
    await visitors.sign_in(f"{demo.url}/login/", *ADMIN)
    writer = await visitors.page(f"{demo.url}/board/write/", of=ADMIN[0])
    await writer.locator("[name=title]").fill("t" * 80)
    await writer.locator("[name=body]").fill("b" * 300)
    await writer.get_by_role("button", name="Publish").click()
    await writer.wait_for_url("**/board/")
    order = await visitors.page(f"{demo.url}/admin/orders/order/add/", of=ADMIN[0])
    await order.locator("[name=number]").fill("n" * 12)
    await order.locator("[name=customer]").fill("c" * 60)
    await order.locator("[name=owner]").select_option(ADMIN[0])
    await order.locator("[name=total]").fill("1234567.89")
    await order.get_by_role("button", name="Save", exact=True).click()
    await order.wait_for_url("**/admin/orders/order/")
    apps = ("metrics", "builds", "board", "inbox", "inbox/staff", "orders", "broadcast")
    [link] = await order.get_by_role("link", name="n" * 12).and_(order.locator("th a")).all()
    pk = re.sub(r"\D", "", await link.get_attribute("href") or "")
    for path in ("", *(f"{app}/" for app in apps), f"orders/{pk}/"):
        page = await visitors.live(f"{demo.url}/{path}", of=ADMIN[0])
        await page.set_viewport_size({"width": 390, "height": 800})
        root = "document.documentElement"
        assert await page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth"), path
        await page.close()


async def test_note_appears_in_the_inbox_of_another(demo, visitors):
    """A note is in its recipient's tab at once, and in the staff's list; its sender is told."""
    for name in ("ada", "grace"):
        await visitors.sign_in(f"{demo.url}/login/", name, PASSWORDS[name])
    await visitors.sign_in(f"{demo.url}/login/", *ADMIN)
    grace = await visitors.live(f"{demo.url}/inbox/", of="grace")
    staff = await visitors.live(f"{demo.url}/inbox/staff/", of=ADMIN[0])
    ada = await visitors.live(f"{demo.url}/inbox/", of="ada")
    await ada.get_by_label("To").select_option("grace")
    await ada.get_by_label("Note", exact=True).fill("Is <this> live?")
    await ada.get_by_role("button", name="Send").click()
    note = grace.locator("#notes article").first
    await expect(note.locator("p")).to_have_text("Is <this> live?")
    await expect(note.locator("b")).to_have_text("ada")
    await expect(staff.locator("#traffic tr").first).to_have_text(re.compile(r"^\s*ada\s+grace\s"))
    await expect(ada.locator("output")).to_have_text("Sent to grace.")


async def test_broadcast_arrives_in_all_tabs_by_one_stream(demo, visitors):
    """Whatever page is open shows it once; the tabs of a browser share the stream for it."""
    home = await visitors.live(f"{demo.url}/")
    page = await visitors.live(f"{demo.url}/broadcast/")
    board = await visitors.live(f"{demo.url}/board/", of="a reader")
    # Those of the tests before have gone; the reader has the board's and the lobby's.
    for tab in (home, page):
        await expect(tab.locator("#open-streams")).to_have_text("3 streams are open")
    await page.get_by_label("Message to everyone").fill("Tea <is> ready")
    await page.get_by_role("button", name="Broadcast").click()
    await expect(page.locator("output")).to_have_text("Reached 3 streams of this worker.")
    await expect(page.locator("#messages li")).to_have_text("Someone Tea <is> ready")
    for tab in (home, board):
        await expect(tab.locator("#toasts p")).to_have_text("Someone Tea <is> ready")
    await home.close()
    await board.close()
    await expect(page.locator("#open-streams")).to_have_text("1 stream is open")


async def test_build_is_polled_where_no_stream_comes_through(demo, visitors):
    """Behind something that lets no stream pass, the page asks the same address for JSON."""
    page = await visitors.page(f"{demo.url}/builds/")
    is_seen = asyncio.Event()

    async def let_no_stream_through(route):
        if "text/event-stream" in route.request.headers["accept"]:
            await route.fulfill(status=502)
        else:
            await is_seen.wait()
            await route.continue_()

    await page.route("**/builds/*/status/*", let_no_stream_through)
    await page.get_by_role("button", name="Build this demo").click()
    await expect(page.locator("#connection")).to_have_text("Polling")
    is_seen.set()
    await expect(page.locator("#state")).to_have_text("passed")
    await expect(page.locator("#log")).to_contain_text("Compiling 'demo_project/urls.py'...")
    await expect(page.locator("#connection")).to_have_text("Closed")
    assert all("502" in error for error in visitors.errors), visitors.errors
    visitors.errors.clear()


async def test_source_opens_beneath_its_page(demo, visitors):
    """The link at the top leads to the page's tag and to its files, which open one by one."""
    page = await visitors.live(f"{demo.url}/orders/")
    await page.get_by_role("link", name="Source").click()
    await expect(page.locator("#source .tag").first).to_be_in_viewport()
    publisher = page.get_by_text("class OrderPublisher(ModelPublisher):")
    await expect(publisher).to_be_hidden()
    await page.get_by_text("demo_project/orders/sse.py").click()
    await expect(publisher).to_be_visible()
