"""The guide's examples, run in a project."""

import re
from pathlib import Path

import pytest

from tests.testing.test_plugin import PYTEST, ROOT, SETTINGS, run

GUIDE = ROOT / "docs/how-to/testing.md"

URLS = """
from django.urls import path
from django_sse import ServerSentEvent, event_stream

@event_stream(groups=lambda request, symbol: f"prices.{symbol}")
async def prices(request, stream, symbol):
    pass

@event_stream(guard=lambda request: request.user.is_authenticated)
async def mine(request, stream):
    await stream.subscribe(f"user.{request.user.pk}")

urlpatterns = [path("prices/<symbol>/", prices), path("orders/mine/", mine)]
"""

MODELS = """
from django.contrib.auth.models import User
from django.db import models

class Order(models.Model):
    number = models.CharField(max_length=10)
    owner = models.ForeignKey(User, models.CASCADE)
"""

SSE = """
from django_sse import ModelPublisher, register
from shop.models import Order

@register(Order)
class OrderPublisher(ModelPublisher):
    fields = ["number"]

    def get_groups(self, instance):
        return ["orders", f"user.{instance.owner_id}"]
"""

MORE_SETTINGS = """
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS += ["django.contrib.sessions", "shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The project that the guide is about, with the files that it shows."""
    files = {
        "project_settings.py": SETTINGS + MORE_SETTINGS,
        "shop/__init__.py": "",
        "shop/urls.py": URLS,
        "shop/models.py": MODELS,
        "shop/sse.py": SSE,
        "shop/tests/__init__.py": "",
        **dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```$", GUIDE.read_text(), re.M | re.S)),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_examples_pass_under_pytest(shop):
    """Those of files: one for pytest, one of Django's test cases."""
    options = ["asyncio_mode=auto", "asyncio_default_fixture_loop_scope=function"]
    arguments = [part for option in options for part in ("-o", option)]
    assert "5 passed" in run(shop, *PYTEST, *arguments)


def test_examples_pass_under_djangos_runner(shop):
    """That of Django's test cases needs no pytest."""
    output = run(shop, "-m", "django", "test")
    assert "Ran 4 tests" in output
    assert "\nOK\n" in output
