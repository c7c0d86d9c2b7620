"""The kit's public names."""

import re
from pathlib import Path

import pytest

from django_sse import testing

REFERENCE = Path(__file__).parents[2] / "docs/reference/testing.md"

NAMES = [
    "PublishedEvent",
    "ReceivedEvent",
    "ReceivedStream",
    "StreamClient",
    "StreamTestMixin",
    "areset",
    "assert_not_published",
    "assert_published",
    "capture_events",
    "reset",
]


def test_all_is_exactly_the_public_names():
    """What is here is promised."""
    assert sorted(testing.__all__) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_documented(name):
    """In the reference, by its own docstring."""
    documented = re.findall(
        r"^\.\. auto\w+:: django_sse\.testing\.(\w+)", REFERENCE.read_text(), re.M
    )
    assert name in documented
    assert getattr(testing, name).__doc__


@pytest.mark.parametrize("name", ["StreamClient", "ReceivedStream"])
def test_reference_lists_the_methods_there_are(name):
    """Every public one but scope(), which is for those who speak ASGI."""
    section = REFERENCE.read_text().partition(f":: django_sse.testing.{name}")[2]
    members = section.partition(":members: ")[2].partition("\n")[0].split(", ")
    public = {key for key in vars(getattr(testing, name)) if not key.startswith("_")}
    assert set(members) == public - {"scope"}
