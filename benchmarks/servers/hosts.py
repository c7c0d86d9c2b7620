"""The ASGI servers, each in one worker on the one core."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import publisher
from benchmarks.servers import Site, outside

__all__ = ["daphne", "granian", "hypercorn", "uvicorn"]

Make = Callable[[Path], Site]
Run = Callable[[socket.socket, socket.socket, Path], None]

_BACKLOG = 65_535


def uvicorn(make: Make) -> Run:
    """Return what serves the site of *make* with uvicorn, on uvloop, with httptools."""

    def run(listening: socket.socket, control: socket.socket, directory: Path) -> None:
        import uvloop
        from uvicorn import Config, Server

        site = make(directory)

        async def serve() -> None:
            await _connect(site, listening.getsockname()[1], control)
            config = Config(
                site.application,
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_level="warning",
                backlog=_BACKLOG,
            )
            await Server(config).serve(sockets=[listening])

        uvloop.run(serve())

    return run


def daphne(make: Make) -> Run:
    """Return what serves the site of *make* with daphne, as it comes."""

    def run(listening: socket.socket, control: socket.socket, directory: Path) -> None:
        from daphne.endpoints import build_endpoint_description_strings
        from daphne.server import Server, twisted_loop

        site = make(directory)
        keep = twisted_loop.create_task(_connect(site, listening.getsockname()[1], control))
        listening.setblocking(False)
        endpoints = build_endpoint_description_strings(file_descriptor=listening.fileno())
        Server(site.application, endpoints=endpoints).run()
        del keep

    return run


def hypercorn(make: Make) -> Run:
    """Return what serves the site of *make* with hypercorn, on uvloop, by its own serve()."""

    def run(listening: socket.socket, control: socket.socket, directory: Path) -> None:
        import uvloop
        from hypercorn.asyncio import serve as serve_with_hypercorn
        from hypercorn.config import Config

        site = make(directory)
        config = Config()
        config.bind = [f"fd://{listening.fileno()}"]
        config.backlog = _BACKLOG
        config.errorlog = None

        async def serve() -> None:
            await _connect(site, listening.getsockname()[1], control)
            await serve_with_hypercorn(site.application, config)

        uvloop.run(serve())

    return run


def granian(make: Make) -> Run:
    """
    Return what serves the site of *make* with granian.

    Its main process forks one worker, with one thread for Rust's runtime; the site and the
    publisher are in the worker. What it answers at the same time is limited by ``backpressure``,
    which as it comes is less than the streams.
    """

    def run(listening: socket.socket, control: socket.socket, directory: Path) -> None:
        import multiprocessing

        from granian import Granian
        from granian.constants import Interfaces, Loops

        port = listening.getsockname()[1]
        listening.close()  # It takes a port, not a socket.
        # The worker inherits the control connection.
        multiprocessing.set_start_method("fork", force=True)

        def load() -> Any:
            return _connected_on_startup(make(directory), port, control)

        server = Granian(
            "benchmarks",  # Not used: the application is loaded by the function.
            address="127.0.0.1",
            port=port,
            interface=Interfaces.ASGI,
            workers=1,
            runtime_threads=1,
            loop=Loops.uvloop,
            websockets=False,
            log_enabled=False,
            backlog=_BACKLOG,
            backpressure=_BACKLOG,
        )
        server.serve(target_loader=load, wrap_loader=False)

    return run


def _connected_on_startup(site: Site, port: int, control: socket.socket) -> Any:
    """Return the application; its lifespan connects the publisher, on the server's own loop."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await site.application(scope, receive, send)
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await outside.until_it_answers(port)
        await _connect(site, port, control)
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    return application


async def _connect(site: Site, port: int, control: socket.socket) -> None:
    greeting = {"port": port, "headers": site.headers}
    await publisher.connect(control, site.publish, greeting, site.counts, site.at_once)
