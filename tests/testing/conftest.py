"""The kit's fixtures, as a project has them, and views to use them on."""

from typing import Any

import pytest

from django_sse.testing.plugin import sse_client, sse_events, sse_reset

__all__ = ["sse_client", "sse_events", "sse_reset"]


@pytest.fixture(autouse=True)
def _urls(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.testing.urls"
