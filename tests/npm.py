"""Packages from npm that tests run."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.services import require_program

__all__ = ["require_modules"]


def require_modules(folder: Path) -> Path:
    """Return *folder*/node_modules with what its package.json names; what is there is kept."""
    modules = folder / "node_modules"
    package = json.loads((folder / "package.json").read_text())
    wanted = {**package.get("dependencies", {}), **package.get("devDependencies", {})}
    if all((modules / name).is_dir() for name in wanted):
        return modules
    done = subprocess.run(
        [require_program("npm"), "install", "--no-audit", "--no-fund", "--silent"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        problem = f"npm could not install {', '.join(wanted)}: {done.stdout.strip()}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(problem)
    return modules
