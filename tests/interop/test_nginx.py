"""Streams behind nginx: by the guide's configuration, and by as little of one as there can be."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.browser.processes import Visitors
from tests.interop.events import event
from tests.interop.follower import following
from tests.interop.readers import PageReader
from tests.interop.sites import Site, misses_nothing
from tests.servers.client import StreamClient, connect
from tests.servers.processes import Process
from tests.servers.waiting import eventually
from tests.services import free_port, require_program
from tests.test_docs import DOCS, blocks_of

pytestmark = [pytest.mark.redis, pytest.mark.faults]

#: Of Debian's nginx.conf what concerns responses; nginx's own defaults are for the rest.
CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 768; }}
http {{
    sendfile on;
    tcp_nopush on;
    gzip on;
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream mysite {{ server 127.0.0.1:{upstream}; }}
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""

_GUIDE = [b.text for b in blocks_of(DOCS / "how-to/deploying.md") if b.language == "nginx"]
[_GUIDES_LOCATION] = re.findall(r"^    location / \{\n.*?^    \}\n", _GUIDE[0], re.M | re.S)
[_AWAY] = [text for text in _GUIDE if "@away" in text]
#: HTTP/1.1 to the server; and HTTP/1.0, which nginx 1.22 speaks where it is told nothing.
LOCATIONS = {"guide": _GUIDES_LOCATION, "bare": "location / { proxy_pass http://mysite; }"}
READ_TIMEOUT_SECONDS = 3


class Nginx(Process):
    """An nginx in front of one server."""

    def __init__(self, folder: Path, upstream: int, locations: str) -> None:
        self.port = free_port()
        timeout = f"proxy_read_timeout {READ_TIMEOUT_SECONDS}s;"
        configuration = folder / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                folder=folder,
                upstream=upstream,
                port=self.port,
                locations=timeout + re.sub(r"proxy_read_timeout .*?;", "", locations),
            )
        )
        # Debian has it where only root looks.
        program = require_program("nginx", "/usr/sbin/nginx")
        super().__init__("nginx", [program, "-p", str(folder), "-c", str(configuration)], folder)

    async def ready(self) -> "Nginx":
        """Wait until it listens."""

        async def listens() -> bool:
            assert not self.has_ended, f"nginx does not start:\n{self.output}"
            try:
                (await connect(self.port)).close()
            except ConnectionError:
                return False
            return True

        await eventually(listens, but=lambda: self.output)
        return self

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def server_kind() -> str:
    """
    Daphne, which sends HTTP/1.0 as it is.

    nginx holds back what comes without chunks, as HTTP/1.0 has none; uvicorn sends them all the
    same, so that nginx's buffers would not show.
    """
    return "daphne"


@pytest.fixture
def start_nginx(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Nginx]]:
    """Return a function that starts an nginx in front of the site."""
    started: list[Nginx] = []

    def start(locations: str) -> Nginx:
        started.append(Nginx(tmp_path_factory.mktemp("nginx"), site.port, locations))
        return started[-1]

    yield start
    for nginx in started:
        nginx.stop()


@pytest.fixture(params=LOCATIONS)
async def nginx(request: pytest.FixtureRequest, start_nginx: Callable[[str], Nginx]) -> Nginx:
    """The site's nginx, by each of the configurations."""
    return await start_nginx(LOCATIONS[request.param]).ready()


async def test_nginx_passes_each_event_on_at_once(site: Site, nginx: Nginx) -> None:
    """Neither its buffers nor its gzip hold one back: each comes before the next is published."""
    headers = {"Accept-Encoding": "gzip"}
    client = await StreamClient.open(nginx.port, site.path, headers=headers)
    assert client.headers["content-type"] == "text/event-stream"
    assert client.headers["content-encoding"] == "identity"
    for number in range(5):
        await site.publish(number, 1)
        fields = await client.next_event()
        assert (fields.get("event", "message"), fields["data"]) == event(number)
    client.close()


async def test_nginx_keeps_an_idle_stream_that_has_heartbeats(site: Site, nginx: Nginx) -> None:
    """Idle for longer than proxy_read_timeout: the same connection brings the next event."""
    client = await StreamClient.open(nginx.port, site.path)
    await client.next_frame()
    for _ in range(READ_TIMEOUT_SECONDS + 2):
        assert (await client.next_frame()).startswith(b":")
    await site.publish(0, 1)
    assert (await client.next_event())["data"] == event(0)[1]
    client.close()


async def test_nginx_ends_an_idle_stream_that_has_none(site: Site, nginx: Nginx) -> None:
    """What the heartbeats are for: without them it hangs up after proxy_read_timeout."""
    client = await StreamClient.open(nginx.port, f"/silent/{site.group}/")
    assert len(await client.rest(whole=False)) == 1
    client.close()


async def test_client_behind_nginx_misses_nothing(site: Site, nginx: Nginx) -> None:
    """The server is killed behind it, which answers with 502 meanwhile, and comes back."""
    async with following(nginx.url + site.path) as received:
        await site.has_streams()
        await misses_nothing(site, lambda: received)


async def test_client_that_leaves_nginx_leaves_the_server(site: Site, nginx: Nginx) -> None:
    """A closed connection is closed behind it as well."""
    client = await StreamClient.open(nginx.port, site.path)
    await site.has_streams()
    client.close()
    await site.has_streams(0)


@pytest.mark.browser
async def test_eventsource_is_sent_off_for_a_while_where_the_server_is_away(
    site: Site, start_nginx: Callable[[str], Nginx], visitors: Visitors
) -> None:
    """By the guide's answer in place of a 502, Chromium's own EventSource misses nothing."""
    rest = "proxy_pass http://mysite;"
    away = _AWAY.replace("/live/", "/stream/").replace("# proxy_pass", f"{rest} #")
    nginx = await start_nginx(LOCATIONS["guide"] + away).ready()
    page = await visitors.page(f"{nginx.url}/page/native/?{urlencode({'stream': site.path})}")
    await site.has_streams()
    await misses_nothing(site, PageReader(page).received)
    visitors.errors.clear()  # Chromium tells of each stream that breaks off.
