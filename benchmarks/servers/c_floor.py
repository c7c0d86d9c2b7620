"""The floor below the floor: c_floor.c, compiled where there is a compiler."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

__all__ = ["COMPILER", "run"]

COMPILER = "cc"


def run(listening: socket.socket, control: socket.socket, directory: Path) -> None:
    """Compile it into *directory*, and become it."""
    compiler, program = shutil.which(COMPILER), directory / "c_floor"
    source = Path(__file__).with_suffix(".c")
    subprocess.run([str(compiler), "-O2", "-o", program, source], check=True)
    for each in (listening, control):
        os.set_inheritable(each.fileno(), True)
        os.set_blocking(each.fileno(), True)
    os.execv(program, [str(program), str(listening.fileno()), str(control.fileno())])
