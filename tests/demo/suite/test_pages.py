"""All of the demo's pages, and its size."""

import ast
import re

import pytest
from django.conf import settings

APPS = ["metrics", "builds", "board", "inbox", "orders", "broadcast"]
PAGES = ["/", "/login/", "/board/write/", "/inbox/staff/", *(f"/{app}/" for app in APPS)]
PAGES += ["/admin/", "/admin/board/announcement/", "/admin/orders/order/"]


@pytest.mark.parametrize("path", PAGES)
def test_page_keeps_the_strict_policy(path, admin_client):
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


@pytest.mark.parametrize("app", APPS)
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
