"""The attributes of the element, as templates give them."""

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
from django.utils.functional import lazystr

from django_sse import element_attributes
from django_sse.element_attributes import check_attribute, is_attribute, suggest_attribute

STATIC = Path(element_attributes.__file__).parent / "static" / "django_sse"
#: The tag writes these itself.
OF_THE_TAG = {"src", "last-event-id", "renew-url", "renew-after"}
#: Any element has these.
OF_HTML = {"id", "class"}

KEPT: list[tuple[str, Any]] = [
    ("events", "a, b"),
    ("target", "#x"),
    ("swap", "innerHTML"),
    ("swap", " none "),
    ("swap", "order.created: afterbegin #orders; order.updated: outerHTML;"),
    ("swap", "order:created:delete #order-{id}"),
    ("swap", "a: beforeend ul > li:first-child"),
    ("parse", "json"),
    ("reload_url", "/x/"),
    ("shared", True),
    ("transport", "fetch"),
    ("pause_hidden", True),
    ("poll", 5),
    ("poll", 0.5),
    ("with_credentials", True),
    ("id", "x"),
    ("class", "x y"),
    ("data_x", 1),
    ("aria_live", "polite"),
]
BROKEN: list[tuple[str, Any]] = [
    ("events", 7),
    ("events", [1]),
    ("events", b"a"),
    ("target", ""),
    ("target", True),
    ("swap", "innerhtml"),
    ("swap", ""),
    ("swap", ";"),
    ("swap", "afterbegin #x"),
    ("swap", "a: prepend #x"),
    ("swap", "a: morph; b"),
    ("swap", ": morph"),
    ("swap", True),
    ("parse", "xml"),
    ("shared", "false"),
    ("shared", 1),
    ("transport", "websocket"),
    ("pause_hidden", "no"),
    ("poll", "5"),
    ("poll", 0),
    ("poll", True),
]


@pytest.mark.parametrize(("name", "value"), KEPT)
def test_a_value_that_keeps_the_rule_is_written_as_it_is(name: str, value: Any) -> None:
    """The element reads it as it stands."""
    assert is_attribute(name)
    assert check_attribute(name, value) == value


@pytest.mark.parametrize(("name", "value"), BROKEN)
def test_a_value_that_breaks_the_rule_is_refused(name: str, value: Any) -> None:
    """The error names the attribute, the value and the rule."""
    with pytest.raises(ValueError, match=f"^{name}={re.escape(repr(value))} must be .+\\.$"):
        check_attribute(name, value)


@pytest.mark.parametrize("value", [None, False])
@pytest.mark.parametrize("name", ["shared", "swap", "poll", "data_x"])
def test_none_and_false_are_no_attribute(name: str, value: Any) -> None:
    """A template may choose."""
    assert check_attribute(name, value) is None


@pytest.mark.parametrize("name", ["shared", "pause_hidden", "with_credentials"])
@pytest.mark.parametrize("value", ["", jinja2.Undefined()], ids=["django", "jinja"])
def test_a_flag_that_the_template_does_not_have_is_no_attribute(name: str, value: Any) -> None:
    """It is false where an engine asks for its truth, and so it is here."""
    assert check_attribute(name, value) is None


def test_a_lazy_string_is_its_text() -> None:
    """As everywhere in Django; no list of characters."""
    assert check_attribute("events", lazystr("a b")) == "a b"
    assert check_attribute("swap", lazystr("morph")) == "morph"


def test_a_list_of_events_becomes_names() -> None:
    """Separated by blanks, as the element reads them."""
    assert check_attribute("events", ["a", "b"]) == "a b"
    assert check_attribute("events", iter(("a",))) == "a"


@pytest.mark.parametrize(("name", "meant"), [("targt", "target"), ("reload-url", "reload_url")])
def test_a_typo_is_told_what_it_meant(name: str, meant: str) -> None:
    """Whoever writes a template sees it at once."""
    assert not is_attribute(name)
    assert suggest_attribute(name) == f"did you mean {meant!r}?"
    assert suggest_attribute("xyz").startswith("the attributes are events, target, ")


@pytest.mark.parametrize("name", ["src", "renew_url", "renew_after", "state", "style"])
def test_what_a_template_does_not_give_is_told_why(name: str) -> None:
    """It is near no other name, and known all the same."""
    assert not is_attribute(name)
    assert re.match(
        "the (tag|element) writes it|give the element a class", suggest_attribute(name)
    )


def test_the_attributes_are_those_of_the_element() -> None:
    """Those that its script reads, but for what the tag writes."""
    script = (STATIC / "attributes.js").read_text()
    table = re.search(r"const ATTRIBUTES = \{(.*?)\n\};", script, re.DOTALL)
    assert table is not None
    read = set(re.findall(r"^ +\"?([a-z-]+)\"?:", table[1], re.MULTILINE))
    given = {name.replace("_", "-") for name in element_attributes._RULES}
    assert given - OF_HTML == read - OF_THE_TAG
    assert read >= OF_THE_TAG


def test_the_verbs_are_those_of_the_element() -> None:
    """A verb that a template may write is one that is obeyed."""
    script = (STATIC / "swap.js").read_text()
    table = re.search(r"const CHANGES = \{(.*?)\n\};", script, re.DOTALL)
    assert table is not None
    assert re.findall(r"^ +(\w+):", table[1], re.MULTILINE) == list(element_attributes._VERBS)
