"""The servers of the benchmarks: what each is called, and what it needs to be here."""

import importlib.util
import shutil
from collections.abc import Iterable

from benchmarks import services
from benchmarks.servers import better_sse, c_floor, nchan, pushpin

__all__ = ["C_FLOOR", "FLOOR", "LABELS", "ON_REDIS", "PEER", "missing", "those_here"]

#: The servers in the order of the tables, with the names that they have there.
LABELS = {
    "c-floor": "C, epoll (the kernel's limit)",
    "floor": "bare Python protocol on uvloop (the floor)",
    "django_sse": "**django_sse**, uvicorn",
    "django_sse-no-history": "django_sse without history, uvicorn",
    "django_sse-stock": "django_sse, Django's stock handler, uvicorn",
    "django_sse-generator": "django_sse, generator style, uvicorn",
    "django_sse-granian": "django_sse, granian",
    "django_sse-hypercorn": "django_sse, hypercorn",
    "django_sse-daphne": "**django_sse**, daphne",
    "django_sse-redis": "django_sse, Redis, core layer, uvicorn",
    "django_sse-redis-no-history": "django_sse without history, Redis, core layer, uvicorn",
    "django_sse-pubsub": "**django_sse**, Redis, pubsub layer, uvicorn",
    "nchan": "nchan (nginx module, C)",
    "pushpin": "Pushpin (C++ and Rust)",
    "better-sse": "better-sse (Node.js)",
    "aiohttp-sse": "aiohttp-sse",
    "sse-starlette": "sse-starlette, uvicorn",
    "django-eventstream": "django-eventstream, uvicorn",
    "django-eventstream-daphne": "django-eventstream, daphne",
    "django-eventstream-redis": "django-eventstream, Redis, uvicorn",
}
C_FLOOR, FLOOR, PEER = "c-floor", "floor", "django-eventstream"
#: What needs a Redis server.
ON_REDIS = tuple(name for name in LABELS if "redis" in name or "pubsub" in name)

_MODULES = {
    "aiohttp-sse": ("aiohttp_sse", "uvloop"),
    "sse-starlette": ("sse_starlette", "uvicorn", "uvloop"),
    "django_sse-daphne": ("daphne",),
    "django_sse-granian": ("granian", "uvloop"),
    "django_sse-hypercorn": ("hypercorn", "uvloop"),
    "django-eventstream": ("django_eventstream", "uvicorn", "uvloop"),
    "django-eventstream-daphne": ("django_eventstream", "daphne"),
    "django-eventstream-redis": ("django_eventstream", "uvicorn", "uvloop"),
}
_PROGRAMS = {
    "c-floor": c_floor.COMPILER,
    "nchan": nchan.PROGRAM,
    "pushpin": pushpin.PROGRAM,
    "better-sse": "node",
}
_FILES = {
    "nchan": (nchan.MODULE, "apt-get install libnginx-mod-nchan"),
    "better-sse": (better_sse.MODULE, "npm install --prefix benchmarks/servers"),
}


def missing(name: str) -> str | None:
    """Return what is not here for the server *name*; None if all is."""
    for module in _MODULES.get(name, ("uvloop", "uvicorn")):
        if name not in _PROGRAMS and importlib.util.find_spec(module) is None:
            return f"no Python module {module}"
    if (program := _PROGRAMS.get(name)) and shutil.which(program) is None:
        return f"no program {program}"
    if name in _FILES and not _FILES[name][0].exists():
        path, remedy = _FILES[name]
        return f"no {path}: {remedy}"
    return services.redis_problem() if name in ON_REDIS else None


def those_here(names: Iterable[str]) -> list[str]:
    """Return those of *names* that can be measured here; say what is missing for the others."""
    found = []
    for name in names:
        if problem := missing(name):
            print(f"Without {name}: {problem}")
        else:
            found.append(name)
    return found
