"""
Pushpin: condure, zurl, pushpin-proxy and pushpin-handler, as Debian packages them.

A stream's request goes to an origin, which is in this process and answers with the headers of
GRIP that hold it; then the connection is Pushpin's. An event is an item posted to its control
port, with the text of the event stream as content; that port takes one request a connection. It
keeps no history. Its limit of messages a second is lifted.
"""

import asyncio
import json
import re
import shutil
import socket
from pathlib import Path
from typing import Any, cast

from benchmarks import publisher
from benchmarks.events import GROUP
from benchmarks.servers import outside

__all__ = ["PROGRAM", "run"]

PROGRAM = "pushpin"
_LIBRARY = Path("/usr/lib/pushpin")
# Of one request: a few thousand are refused.
_ITEMS = 1_000
# To open a stream while it begins, 20 a second.
_ATTEMPTS = 400

_CONFIGURATION = """
[global]
include={library}/internal.conf
rundir={directory}/run
ipc_prefix=p-
port_offset=0

[runner]
services=condure,zurl,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:{port}
logdir={directory}/log
log_level=1
client_buffer_size=8192
client_maxconn=65536

[proxy]
routesfile={directory}/routes
zurl_out_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-in
zurl_out_stream_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-in-stream
zurl_in_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-out

[handler]
push_in_spec=ipc://{directory}/run/push-in
push_in_sub_specs=ipc://{directory}/run/push-in-sub
command_spec=ipc://{directory}/run/command
push_in_http_addr=127.0.0.1
push_in_http_port={control_port}
push_in_http_max_headers_size=10000
push_in_http_max_body_size=100000000
message_rate=0
message_hwm=100000000
message_wait=0
"""
_NAME = re.compile(rb"[?]group=(\w+)")


class _Origin(asyncio.Protocol):
    """Answers every request: hold this stream, its channel is the group."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass.

    def data_received(self, data: bytes) -> None:
        name = _NAME.search(data)
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n"
            b"Grip-Hold: stream\r\nGrip-Channel: %s\r\n\r\n"
            % (name[1] if name else GROUP.encode())
        )


class _Publisher:
    """Posts what has been published since the last answer as the items of one request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._items: list[dict[str, Any]] = []
        self._posting: asyncio.Task[None] | None = None

    async def publish(self, group: str, data: dict[str, Any]) -> None:
        if self._posting is None:
            self._posting = asyncio.create_task(self._post_all())
        content = f"data: {json.dumps(data, separators=(',', ':'))}\n\n"
        self._items.append({"channel": group, "formats": {"http-stream": {"content": content}}})

    async def _post_all(self) -> None:
        while self._items:
            body = json.dumps({"items": self._items[:_ITEMS]}).encode()
            del self._items[:_ITEMS]
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            head = f"POST /publish/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}"
            writer.write(f"{head}\r\n\r\n".encode() + body)
            answer = await reader.readline()  # It closes the connection some time later.
            writer.close()
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise SystemExit(f"Pushpin has refused what was published: {answer!r}")
        self._posting = None


async def _until_it_holds(port: int) -> None:
    """Wait until a stream is answered: the program that listens is there before the others."""
    for _ in range(_ATTEMPTS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /?group=none HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        try:
            answer = await reader.readline()
        except ConnectionResetError:
            answer = b""
        writer.close()
        if answer.startswith(b"HTTP/1.1 200 "):
            return
        await asyncio.sleep(0.05)
    raise SystemExit(f"Pushpin answers a stream with {answer!r}.")


def run(listening: socket.socket, control: socket.socket, directory: Path) -> None:
    """Start Pushpin, and publish to it for ever."""
    import uvloop

    uvloop.run(_serve(listening, control, directory / "pushpin"))


async def _serve(origin: socket.socket, control: socket.socket, directory: Path) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(_Origin, sock=origin, backlog=65_535)
    port, control_port = outside.free_ports(2)
    for each in (directory, directory / "run", directory / "log"):
        each.mkdir(exist_ok=True)
    (directory / "routes").write_text(f"* 127.0.0.1:{origin.getsockname()[1]}\n")
    (directory / "pushpin.conf").write_text(
        _CONFIGURATION.format(
            library=_LIBRARY, directory=directory, port=port, control_port=control_port
        )
    )
    program = str(shutil.which(PROGRAM))
    outside.start([program, f"--config={directory}/pushpin.conf", "--merge-output"], directory)
    await outside.until_it_answers(port, directory)
    await outside.until_it_answers(control_port, directory)
    await _until_it_holds(port)
    publish = _Publisher(control_port).publish
    await publisher.connect(control, publish, {"port": port, "headers": {}})
    await asyncio.Event().wait()
