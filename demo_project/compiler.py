"""What a build runs: a process that compiles Python sources."""

import atexit
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from tempfile import TemporaryDirectory

import django
from django.conf import settings

COMPILE = ["-m", "compileall", "-f", "-o", "0", "-o", "1", "-o", "2"]


@contextmanager
def compiling(target: str) -> Iterator[tuple[int, "Popen[str]"]]:
    """Yield the number of files of *target*, and the process that compiles them in the block."""
    # Where the server ends during a build, its process may still be writing there.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source = _source(target, Path(folder))
        with Popen(
            [sys.executable, "-u", "-X", f"pycache_prefix={folder}", *COMPILE, source.name],
            cwd=source.parent,
            stdout=PIPE,
            stderr=STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for the server, which ends this one.
        ) as process:
            # A server that ends runs no finally of its threads.
            atexit.register(process.kill)
            try:
                yield len(list(source.rglob("*.py"))), process
            finally:
                process.kill()
                atexit.unregister(process.kill)


def _source(target: str, folder: Path) -> Path:
    if target == "Django":
        return Path(django.__file__).parent
    source = shutil.copytree(settings.BASE_DIR / "demo_project", folder / "demo_project")
    if target == "a mistake":
        (source / "unfinished.py").write_text("def unfinished(:\n")
    return source
