"""A project without Django's admin."""

import subprocess
import sys

from tests.servers.processes import ROOT

SCRIPT = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
from django.conf import settings
settings.INSTALLED_APPS = [
    app for app in settings.INSTALLED_APPS if app not in ("django.contrib.admin", "daphne")
]
import django
django.setup()
from django.core.management import call_command
call_command("check")
import sys
import django_sse.asgi, django_sse.urls, django_sse.testing
assert not [name for name in sys.modules if name.startswith("django_sse.admin")]
assert "django.contrib.admin.options" not in sys.modules
"""


def test_package_does_without_the_admin() -> None:
    """Nothing of it is imported, nor asked for by a check."""
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
