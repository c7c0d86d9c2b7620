"""httpx-sse: a client in Python."""

import pytest

from tests.interop.events import events
from tests.interop.follower import following
from tests.interop.sites import Site, gets, misses_nothing

pytestmark = [pytest.mark.redis, pytest.mark.faults]


async def test_httpx_sse_misses_nothing(site: Site) -> None:
    """It has every event once, in order, over two killed servers."""
    async with following(site.url + site.path) as received:
        await site.has_streams()
        await misses_nothing(site, lambda: received)


async def test_httpx_sse_misses_nothing_before_its_first_event(site: Site) -> None:
    """It yields the opening, an id without data, and so has an id from the start."""
    async with following(site.url + site.path) as received:
        await site.has_streams()
        await site.server.state()  # Behind another answer the opening has been written too.
        await site.kill()
        await site.publish(0)
        await site.start()
        await gets(lambda: received, 5)
        await site.publish(5, 1)
        await gets(lambda: received, 6)
        assert received == events(*range(6))
