"""better-sse on Node.js: better_sse.js, with what npm has installed beside it."""

import os
import shutil
import socket
from pathlib import Path

__all__ = ["MODULE", "run"]

_HERE = Path(__file__).parent

#: What ``npm install --prefix benchmarks/servers`` makes; "make bench" does it where npm is there.
MODULE = _HERE / "node_modules" / "better-sse"


def run(listening: socket.socket, control: socket.socket, directory: Path) -> None:
    """Become it."""
    for each in (listening, control):
        os.set_inheritable(each.fileno(), True)
    node, script = str(shutil.which("node")), str(_HERE / "better_sse.js")
    port = listening.getsockname()[1]
    os.execv(node, [node, script, str(listening.fileno()), str(control.fileno()), str(port)])
