"""
nchan in nginx, with one worker process, as Debian packages it.

Its ``nchan_subscriber eventsource`` location holds the streams; an event is a POST to its
``nchan_publisher`` location, on one kept connection. Its messages are kept in shared memory, each
with an id: 10 of them if nothing is said, here as many as a burst has.
"""

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

from benchmarks import publisher
from benchmarks.events import GROUP
from benchmarks.servers import outside
from benchmarks.servers.posting import Poster

__all__ = ["MODULE", "PROGRAM", "run"]

PROGRAM = "nginx"
#: Where Debian's libnginx-mod-nchan puts it.
MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

_CONFIGURATION = """
load_module {module};
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{
    worker_connections 65536;
}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 1d;
    client_body_buffer_size 64k;
    nchan_shared_memory_size 512M;
    nchan_message_buffer_length 200;
    map $arg_group $group {{
        default $arg_group;
        "" {group};
    }}
    server {{
        listen 127.0.0.1:{port} backlog=65535;
        location = /events {{
            nchan_subscriber eventsource;
            nchan_subscriber_first_message newest;
            nchan_channel_id $group;
        }}
        location = /publish {{
            nchan_publisher;
            nchan_channel_id $group;
        }}
    }}
}}
"""


def run(listening: socket.socket, control: socket.socket, directory: Path) -> None:
    """Start nginx, and publish to it for ever."""
    import uvloop

    listening.close()
    uvloop.run(_serve(control, directory / "nchan"))


async def _serve(control: socket.socket, directory: Path) -> None:
    import asyncio

    (port,) = outside.free_ports(1)
    directory.mkdir(exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(
        _CONFIGURATION.format(
            module=MODULE, user=user, directory=directory, group=GROUP, port=port
        )
    )
    program = str(shutil.which(PROGRAM))
    outside.start([program, "-p", directory, "-c", directory / "nginx.conf"], directory)
    await outside.until_it_answers(port, directory)
    poster = Poster(port)
    await poster.connect()

    async def publish(group: str, data: dict[str, Any]) -> None:
        body = json.dumps(data, separators=(",", ":")).encode()
        poster.post(f"/publish?group={group}", body, "application/json")

    await publisher.connect(control, publish, {"port": port, "headers": {}})
    await asyncio.Event().wait()
