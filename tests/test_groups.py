"""Names of groups: what is one, and what the channel layer is told."""

import enum
import string
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from hypothesis import example, given
from hypothesis import strategies as st

from django_sse.exceptions import InvalidGroup, SSEError
from django_sse.groups import BROADCAST, check_groups, layer_group


class Topic(str, enum.Enum):  # noqa: UP042 - not a StrEnum, which formats as its value
    NEWS = "news"


names = st.one_of(
    st.text(min_size=1),
    st.text(min_size=400, max_size=500),
    # Those that look like what layer_group() returns are the ones that could collide with it.
    st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=120),
    st.text("0123456789abcdef", min_size=64, max_size=64).map("sse.h.".__add__),
    st.sampled_from(["all", "sse.all", "sse.g.all", "sse.h.all", "g.all", "h.all"]),
)


@pytest.fixture(scope="module", params=[InMemoryChannelLayer, RedisChannelLayer])
def layer(request: pytest.FixtureRequest) -> Any:
    """A layer of each kind that has rules for names; its validators connect to nothing."""
    return request.param()


def test_check_groups_takes_one_name_or_several() -> None:
    """The result is a tuple without repetitions, in the order given."""
    assert check_groups("a") == ("a",)
    assert check_groups(["b", "a", "b"]) == ("b", "a")
    assert check_groups(name for name in ("a", "b")) == ("a", "b")
    assert check_groups({"a": 1}) == ("a",)
    assert check_groups([]) == ()


@pytest.mark.parametrize(
    "name",
    [
        "x" * 500,
        "anna@example.com",
        "комната-7",
        "部屋",
        "room 7",
        "a/b?c=d&e#f",
        "😀",
        "\n",
        "\0",
        " ",
        ".",
        "-" * 100,
        mark_safe("<b>"),
        Topic.NEWS,
    ],
    ids=lambda name: f"{name[:12]!a}",
)
def test_check_groups_takes_any_string(name: str, layer: Any) -> None:
    """What a user may have is a name, and the channel layer is told one that it takes."""
    assert check_groups(name) == (name,)
    assert layer.require_valid_group_name(layer_group(name))


@pytest.mark.parametrize("groups", [7, None, object(), b"orders", lazystr("orders")], ids=repr)
def test_check_groups_refuses_what_is_no_string(groups: Any) -> None:
    """The message names the value, its type and the fix; bytes and lazy strings are not split."""
    with pytest.raises(InvalidGroup) as caught:
        check_groups(groups)
    assert str(caught.value) == f"Group {groups!r} is a {type(groups).__name__}; pass a string."


@pytest.mark.parametrize("name", [7, None, b"orders", "", ["a"], {}, lazystr("orders")], ids=repr)
def test_check_groups_refuses_a_list_with_what_is_no_name(name: Any) -> None:
    """An empty string would be the group of all streams."""
    with pytest.raises(InvalidGroup) as caught:
        check_groups(["fine", name])
    assert str(caught.value) == (
        f"Group {name!r} must be a string of at least one character; for a model instance, name"
        " it, as in f'order.{order.pk}'."
    )


def test_check_groups_refuses_a_lone_surrogate() -> None:
    """A layer that writes UTF-8 would lose each of its events, and only there."""
    with pytest.raises(InvalidGroup, match=r"Group 'a\\ud800' holds a lone surrogate.*replace"):
        check_groups(["a\ud800"])


def test_check_groups_refuses_more_than_max_groups(settings: Any) -> None:
    """The message names the number, the limit and the setting; a repetition does not count."""
    settings.DJANGO_SSE = {"MAX_GROUPS": 2}
    assert check_groups(["a", "b", "a"]) == ("a", "b")
    with pytest.raises(InvalidGroup) as caught:
        check_groups(["a", "b", "c"])
    assert str(caught.value) == (
        "3 groups are more than DJANGO_SSE['MAX_GROUPS'] = 2; use one group for all of them, or"
        " raise the limit."
    )


def test_invalid_group_is_a_value_error_of_the_family() -> None:
    """It can be caught as either."""
    assert issubclass(InvalidGroup, SSEError)
    assert issubclass(InvalidGroup, ValueError)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "sse.all"),
        ("orders", "sse.g.orders"),
        ("room.7", "sse.g.room.7"),
        ("all", "sse.g.all"),
        ("x" * 80, "sse.g." + "x" * 80),
        (
            "anna@example.com",
            "sse.h.f7d54c22dda5b1780276601cd005909b70543fc4a6ba72d735b4cb9bbb611f01",
        ),
        (Topic.NEWS, "sse.g.news"),
    ],
)
def test_layer_group_keeps_a_name_readable_where_it_can(name: str, expected: str) -> None:
    """A short plain name stands in the layer as it is, for whoever looks at Redis."""
    assert layer_group(name) == expected


@pytest.mark.parametrize("name", ["x" * 81, "a b", "orders\n", "٣", "ä", "sse.all "])
def test_layer_group_digests_the_rest(name: str) -> None:
    """A name that a layer might refuse becomes a digest of one length."""
    mapped = layer_group(name)
    assert mapped.startswith("sse.h.")
    assert len(mapped) == 70


@given(name=names)
@example(name="\ud7ff\ue000")
def test_layer_group_is_accepted_by_every_layer(name: str, layer: Any) -> None:
    """Whatever the name, each layer's own validator takes what it is told."""
    mapped = layer_group(name)
    assert layer.require_valid_group_name(mapped)
    assert not mapped.endswith("\n")


@given(one=names, other=names)
@example(one="é", other="e\u0301")
@example(one="A", other="a")
@example(one="orders", other="orders ")
def test_layer_group_has_no_collision(one: str, other: str) -> None:
    """Two names are two groups, and the same name the same group."""
    assert (layer_group(one) == layer_group(other)) == (one == other)


@given(name=names)
def test_layer_group_of_a_name_is_never_that_of_all_streams(name: str) -> None:
    """No name that a project may give reaches every stream, nor passes for a mapped one."""
    assert layer_group(name) != layer_group(BROADCAST)
    assert layer_group(layer_group(name)) != layer_group(name)


def test_broadcast_is_no_name_that_can_be_given() -> None:
    """The group of all streams is the empty name."""
    with pytest.raises(InvalidGroup):
        check_groups(BROADCAST)
