"""The demo is another project than the suite's: its tests need a process with its settings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).parent / "suite"
OF_THE_DEMO = ("DEMO_DATABASE", "DEMO_HOSTS", "REDIS_URL")


def test_demo_passes_its_tests():
    """The demo's own tests pass under its settings."""
    environment = {name: value for name, value in os.environ.items() if name not in OF_THE_DEMO}
    command = [sys.executable, "-m", "pytest", "-c", str(SUITE / "pytest.ini"), str(SUITE)]
    options = ["--ds=demo_project.settings", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode:
        pytest.fail(f"{result.stdout}\n{result.stderr}", pytrace=False)


def test_demo_has_its_migrations():
    """The migrations of the demo's apps say what its models say."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "demo_project.settings"}
    command = [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"]
    result = subprocess.run(
        command,
        cwd=SUITE.parents[2],
        env={**environment, "DEMO_DATABASE": ":memory:"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
