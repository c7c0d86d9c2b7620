"""The reference of publishers, held against the class."""

import re
from pathlib import Path

from django_sse import ModelPublisher

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "models.md"

ROW = re.compile(r"^\| `(\w+)` \| .+? \| `(.+?)` \| .+ \|$", re.MULTILINE)


def test_attributes_and_their_defaults():
    """The tables list each that a project may set, once, with its default."""
    listed = ROW.findall(REFERENCE.read_text())
    names = set(ModelPublisher.__annotations__) - {"registered"}
    assert sorted(name for name, _ in listed) == sorted(names)
    assert {name: default.replace('"', "'") for name, default in listed} == {
        name: repr(getattr(ModelPublisher, name)) for name in names
    }
