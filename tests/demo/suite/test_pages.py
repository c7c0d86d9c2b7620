"""All of the demo's pages, and its size."""

import ast
import re
from html.parser import HTMLParser

import django.urls
import pytest
from django.conf import settings
from django.contrib.admin import AdminSite, site
from django.urls import resolve

from demo_project import urls
from demo_project.builds.models import Build
from demo_project.orders.models import Order
from demo_project.sources import SOURCES, sources_of
from django_sse.models import Dashboard

APPS = ["metrics", "builds", "board", "inbox", "orders", "broadcast"]
PAGES = ["/", "/login/", "/board/write/", "/inbox/staff/", *(f"/{app}/" for app in APPS)]
PAGES += ["/admin/", "/admin/board/announcement/", "/admin/orders/order/"]
OF_ONE = ["/builds/1/", "/orders/1/"]


@pytest.fixture
def rows(admin_user):
    """A build and an order, whose pages are those of OF_ONE."""
    Build.objects.create(pk=1, target="Django", state="passed")
    Order.objects.create(pk=1, number="T-1", customer="Tea", owner=admin_user, total=1)


@pytest.mark.parametrize("path", [*PAGES, *OF_ONE])
def test_page_keeps_the_strict_policy(path, admin_client, rows):
    """Each page comes with a policy that allows nothing inline, and has nothing inline."""
    response = admin_client.get(path)
    assert response.status_code == 200
    policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    html = response.content.decode()
    assert not re.findall(r"<script(?![^>]*\b(?:src|type=\"application/json\"))", html)
    assert not re.findall(r"<style|\sstyle=|\son\w+=|javascript:", html)


async def test_stream_keeps_the_strict_policy(asgi):
    """Streams come with the policy too: the middleware does not touch their body."""
    stream = await asgi.open("/broadcast/stream/")
    assert "default-src 'none'" in stream.headers["content-security-policy"]


class Shown(HTMLParser):
    """What the page has beneath it: its tags, and the text of each file by its path."""

    def __init__(self, html):
        super().__init__()
        self.files, self.tags = {}, []
        self._into = None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "pre" and attributes.get("class") == "tag":
            self.tags.append("")
            self._into = "tag"
        elif tag == "pre" and "aria-label" in attributes and "tabindex" in attributes:
            self._into = attributes["aria-label"]
            self.files[self._into] = ""

    def handle_endtag(self, tag):
        if tag == "pre":
            self._into = None

    def handle_data(self, data):
        if self._into == "tag":
            self.tags[-1] += data
        elif self._into in self.files:
            self.files[self._into] += data


SOURCED = [path for path in PAGES if not path.startswith(("/admin/", "/login/"))]


@pytest.mark.parametrize("path", [*SOURCED, *OF_ONE])
def test_page_shows_its_source(path, admin_client, rows):
    """Each file stands beneath the page as it is on the disk; its tag is what opens the stream."""
    html = admin_client.get(path).content.decode()
    shown = Shown(html[html.index('<section id="source"') :])
    paths = list(SOURCES[resolve(path).view_name])
    assert shown.files == {name: settings.BASE_DIR.joinpath(name).read_text() for name in paths}
    assert all(tag in shown.files[paths[0]] for tag in shown.tags)
    assert bool(shown.tags) is ("write" not in path)


@pytest.mark.django_db
@pytest.mark.parametrize("is_there", [True, False])
def test_home_leads_to_the_dashboard_if_there_is_one(is_there, client, settings):
    """The card is there where the admin has the page."""
    of_one = AdminSite()
    if is_there:
        of_one.register(Dashboard)
    rest = [one for one in urls.urlpatterns if getattr(one, "namespace", "") != "admin"]
    for model, options in site._registry.items():
        if model is not Dashboard:
            of_one.register(model, type(options))
    settings.ROOT_URLCONF = (django.urls.path("admin/", of_one.urls), *rest)
    html = client.get("/").content.decode()
    assert ("<h2>Dashboard</h2>" in html) is is_there
    assert ('<a href="/admin/django_sse/dashboard/">' in html) is is_there


def test_source_marks_what_has_to_do_with_streams():
    """Of a view: its import, its decorator, and what it sends; not what a docstring says."""
    [views] = [s for s in sources_of("metrics:page") if s.path.endswith("views.py")]
    marked = ["".join(text for _, text in line.pieces) for line in views.lines if line.is_live]
    assert marked == [
        "from django_sse import ServerSentEvent, event_stream",
        "@event_stream",
        '            yield ServerSentEvent(sample, event="sample")',
    ]


def test_sources_are_of_the_demo():
    """Nothing is shown but templates, scripts and code of the demo, whatever is asked for."""
    for paths in SOURCES.values():
        for path in paths:
            assert path.startswith(("templates/", "demo_project/"))
            assert settings.BASE_DIR.joinpath(path).resolve().is_relative_to(settings.BASE_DIR)
    assert sources_of("admin:index") == []


@pytest.mark.parametrize("app", [*APPS, "presence"])
def test_app_is_small(app):
    """Each app is less than a hundred lines of code, without docstrings and migrations."""
    paths = settings.BASE_DIR.joinpath("demo_project", app).rglob("*.py")
    sources = [path.read_text() for path in paths if "migrations" not in path.parts]
    assert 0 < sum(map(count_code, sources)) < 100


def count_code(source):
    prose = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            prose |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(source.splitlines(), start=1)
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in prose
        for number, line in lines
    )
