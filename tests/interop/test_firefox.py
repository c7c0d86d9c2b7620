"""Firefox's own EventSource."""

from urllib.parse import quote, urlencode

import pytest

from tests.browser.firefox import firefox_tab
from tests.interop.events import Event, events
from tests.interop.sites import Site, gets, misses_nothing

pytestmark = [pytest.mark.browser, pytest.mark.node, pytest.mark.redis, pytest.mark.faults]

SHOWN = '[...document.querySelectorAll("#events > p")].map((p) => p.textContent)'


async def test_firefox_misses_nothing(site: Site) -> None:
    """
    It has every event once, in order: its server is killed before the first, and twice more.

    Firefox keeps the id of events only, and not that of the opening. One in the URL says where it
    stands until it has got an event; from then on its own counts.
    """
    async with firefox_tab() as firefox:

        async def received() -> list[Event]:
            texts: list[str] = await firefox.evaluate(SHOWN)
            got = events(*(int(text.partition("\n")[0]) for text in texts))
            assert [data for _, data in got] == [f"<p>{text}</p>" for text in texts]
            return got

        stream = f"{site.path}?last_event_id={quote(await site.id_now())}"
        await firefox.goto(f"{site.url}/page/native/?{urlencode({'stream': stream})}")
        await site.has_streams()
        await site.kill()
        await site.publish(0)
        await site.start()
        await gets(received, 5)
        await misses_nothing(site, received, count=5)
