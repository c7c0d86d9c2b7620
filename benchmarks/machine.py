"""What a benchmark ran on: figures mean nothing without it."""

import datetime
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT

__all__ = ["describe"]

_DISTRIBUTIONS = (
    "django-channels-sse",
    "Django",
    "channels",
    "channels-redis",
    "redis",
    "psycopg",
    "asgiref",
    "django-eventstream",
    "sse-starlette",
    "starlette",
    "aiohttp",
    "aiohttp-sse",
    "uvicorn",
    "uvloop",
    "httptools",
    "daphne",
    "Twisted",
    "granian",
    "hypercorn",
)
# What each prints has its version as the first thing that looks like one.
_PROGRAMS = {
    "cc": "cc --version",
    "Node.js": "node --version",
    "nginx": "nginx -v",
    "Pushpin": "pushpin --version",
}
_MISSING = "not installed"
_BETTER_SSE = Path(__file__).parent / "servers" / "node_modules" / "better-sse" / "package.json"
_NCHAN = "libnginx-mod-nchan"


def describe() -> dict[str, Any]:
    """Return the machine, the versions, the commit and the time, for the report."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "commit": _commit(),
        "cpu": _value(Path("/proc/cpuinfo"), "model name"),
        "cores": os.cpu_count(),
        "memory_gb": round(int(_value(Path("/proc/meminfo"), "MemTotal").split()[0]) / 2**20),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_average": round(os.getloadavg()[0], 2),
        "versions": {
            **{name: _version(name) for name in _DISTRIBUTIONS},
            **{name: _version_of(command) for name, command in _PROGRAMS.items()},
            "nchan": _version_of(f"dpkg-query -W -f ${{Version}} {_NCHAN}"),
            "better-sse": _better_sse_version(),
        },
    }


def _value(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0 (unknown)"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return _MISSING


def _version_of(command: str) -> str:
    try:
        done = subprocess.run(command.split(), capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return _MISSING
    found = re.search(r"\d+\.\d+[\w.]*", done.stdout + done.stderr)
    return found[0] if found else "unknown"


def _better_sse_version() -> str:
    return json.loads(_BETTER_SSE.read_text())["version"] if _BETTER_SSE.exists() else _MISSING


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
