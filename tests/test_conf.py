"""The settings: each rule, what a mistake is answered with, and when they are read."""

import dataclasses
import json
import math
import re
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_sse.conf import Settings, get_settings, is_origin, is_seconds, load_settings
from django_sse.encoders import EventEncoder


class PlainEncoder(json.JSONEncoder):
    """An encoder that a project might have."""


SECONDS = "a number of seconds above 0"
OPTIONAL_SECONDS = "a number of seconds above 0, or None"
BYTES = "a whole number of bytes above 0"
NO_SECONDS = [0, -1, -0.5, "15", None, True, math.nan, math.inf]
NO_OPTIONAL_SECONDS = [0, -1, "15", True, math.nan, math.inf]
NO_COUNT = [0, -1, 1.5, "10", None, True]
OPTIONAL_COUNT = "a whole number above 0, or None"
NO_OPTIONAL_COUNT = [0, -1, 1.5, "10", True]

RULES: dict[str, tuple[str, list[Any], list[Any]]] = {
    # Setting: its rule, values that keep it, values that break it.
    "CHANNEL_LAYER": ("an alias of CHANNEL_LAYERS", ["default", "events"], [None, 1, b"a"]),
    "CHANNEL_LAYER_TIMEOUT_SECONDS": (SECONDS, [0.5, 5], NO_SECONDS),
    "ENCODER": (
        "a subclass of json.JSONEncoder, or the dotted path of one",
        [PlainEncoder, json.JSONEncoder],
        [None, PlainEncoder(), dict, json.dumps, "json.JSONDecoder"],
    ),
    "HEARTBEAT_SECONDS": (SECONDS, [0.1, 15, 3600], NO_SECONDS),
    "RECONNECTION_TIME_MS": (
        "a whole number of milliseconds, 0 or more",
        [0, 3000],
        [-1, 1.5, "3000", None, True],
    ),
    "MAX_DURATION_SECONDS": (OPTIONAL_SECONDS, [None, 60, 0.5], NO_OPTIONAL_SECONDS),
    "RECHECK_SECONDS": (OPTIONAL_SECONDS, [None, 60, 0.5], NO_OPTIONAL_SECONDS),
    "SEND_TIMEOUT_SECONDS": (SECONDS, [1, 30.5], NO_SECONDS),
    "QUEUE_MAX_BYTES": (BYTES, [1, 10**9], NO_COUNT),
    "MAX_EVENT_BYTES": (BYTES, [1, 10**9], NO_COUNT),
    "MAX_GROUPS": ("a whole number from 1 to 300", [1, 300], [301, *NO_COUNT]),
    "MAX_CONNECTIONS": (OPTIONAL_COUNT, [None, 1, 10_000], NO_OPTIONAL_COUNT),
    "MAX_CONNECTIONS_PER_USER": (OPTIONAL_COUNT, [None, 1, 10_000], NO_OPTIONAL_COUNT),
    "MAX_CONNECTIONS_PER_ADDRESS": (OPTIONAL_COUNT, [None, 1, 10_000], NO_OPTIONAL_COUNT),
    "ALLOWED_ORIGINS": (
        "a list of origins as browsers send them, such as 'https://example.com'",
        [(), ("https://example.com", "http://localhost:3000")],
        ["https://example.com", None, ["example.com"], ["https://example.com/"], [7]],
    ),
    "GROUP_ACCESS": (
        "a function of a request and a group's name, the dotted path of one, or None",
        [None, math.hypot],
        [True, 1, ["shop.access.may_read"], dict],
    ),
    "TOKEN_SECONDS": (SECONDS, [1, 0.5, 3600], NO_SECONDS),
    "STORE": (
        "a dict with 'BACKEND', a dotted path, and maybe 'OPTIONS', a dict; or 'auto'; or None",
        [None, "auto", {"BACKEND": "a.Store"}, {"BACKEND": "a.Store", "OPTIONS": {"x": 1}}],
        [
            True,
            "memory",
            {},
            {"OPTIONS": {}},
            {"BACKEND": object},
            {"BACKEND": "a.Store", "OPTIONS": None},
            {"BACKEND": "a.Store", "URL": "redis://"},
        ],
    ),
    "REGISTRY": (
        "True, False, or an alias of DATABASES",
        [True, False, "default"],
        [None, "", 1, {"alias": "default"}],
    ),
    "LEASE_SECONDS": (SECONDS, [0.5, 30], NO_SECONDS),
}
KEPT = [(name, value) for name, (_, kept, _) in RULES.items() for value in kept]
BROKEN = [(name, value, rule) for name, (rule, _, broken) in RULES.items() for value in broken]


def test_every_setting_has_its_rule_here() -> None:
    """A setting that is added is tested."""
    assert list(RULES) == [field.name.upper() for field in dataclasses.fields(Settings)]


@pytest.mark.parametrize(("name", "value"), KEPT)
def test_load_settings_takes_a_value_that_keeps_the_rule(name: str, value: object) -> None:
    """It is given on as it is."""
    assert getattr(load_settings({name: value}), name.lower()) == value


@pytest.mark.parametrize(("name", "value", "rule"), BROKEN)
def test_load_settings_refuses_a_value_that_breaks_the_rule(
    name: str, value: object, rule: str
) -> None:
    """The message names the setting, the value and the rule."""
    with pytest.raises(ImproperlyConfigured) as caught:
        load_settings({name: value})
    expected = value
    if value == "json.JSONDecoder":
        expected = json.JSONDecoder  # The class that the path leads to is what is wrong.
    assert str(caught.value) == f"DJANGO_SSE[{name!r}] is {expected!r}; it must be {rule}."


def test_defaults_keep_their_own_rules() -> None:
    """What is not set is one dict of sound values; only what concerns all is on."""
    defaults = load_settings({})
    for field in dataclasses.fields(Settings):
        assert field.metadata["holds"](getattr(defaults, field.name)), field.name
    assert defaults == Settings(
        channel_layer="default",
        channel_layer_timeout_seconds=5,
        encoder=EventEncoder,
        heartbeat_seconds=15,
        reconnection_time_ms=3000,
        max_duration_seconds=None,
        recheck_seconds=None,
        send_timeout_seconds=30,
        queue_max_bytes=262_144,
        max_event_bytes=262_144,
        max_groups=100,
        max_connections=None,
        allowed_origins=(),
        group_access=None,
        token_seconds=300,
    )


def test_load_settings_imports_an_encoder() -> None:
    """The path of a class is as good as the class."""
    assert load_settings({"ENCODER": "tests.test_conf.PlainEncoder"}).encoder is PlainEncoder


def test_load_settings_imports_the_function_of_group_access() -> None:
    """The path of a function is as good as the function."""
    assert load_settings({"GROUP_ACCESS": "math.hypot"}).group_access is math.hypot


@pytest.mark.parametrize("name", ["ENCODER", "GROUP_ACCESS"])
@pytest.mark.parametrize("path", ["tests.test_conf.Missing", "no_such_module.Encoder", "Encoder"])
def test_load_settings_refuses_a_path_that_leads_nowhere(name: str, path: str) -> None:
    """The message names the setting, and says what Django's import said."""
    with pytest.raises(ImproperlyConfigured) as caught:
        load_settings({name: path})
    message = str(caught.value)
    assert message.startswith(f"DJANGO_SSE[{name!r}] cannot be imported: ")
    assert path.split(".")[0] in message
    assert "must be" not in message


def test_load_settings_makes_a_list_a_tuple() -> None:
    """The settings can be shared and hashed: nothing in them changes."""
    settings = load_settings({"ALLOWED_ORIGINS": ["https://example.com"]})
    assert settings.allowed_origins == ("https://example.com",)
    assert hash(settings) == hash(load_settings({"ALLOWED_ORIGINS": ("https://example.com",)}))
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.max_groups = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("HEARTBEAT_SECOND", "HEARTBEAT_SECONDS"),
        ("HEARTBEAT", "HEARTBEAT_SECONDS"),
        ("heartbeat_seconds", "HEARTBEAT_SECONDS"),
        ("CHANNEL_LAYERS", "CHANNEL_LAYER"),
        ("MAX_EVENTS_BYTES", "MAX_EVENT_BYTES"),
        ("RECONNECTION_TIME", "RECONNECTION_TIME_MS"),
        ("ALLOWED_ORIGIN", "ALLOWED_ORIGINS"),
    ],
)
def test_load_settings_suggests_what_a_typo_meant(typo: str, meant: str) -> None:
    """An unknown key that is close to a setting names it."""
    with pytest.raises(ImproperlyConfigured) as caught:
        load_settings({typo: 1})
    assert str(caught.value) == f"DJANGO_SSE has no setting {typo!r}; did you mean {meant!r}?"


@pytest.mark.parametrize("key", ["XYZ", "", 7, None])
def test_load_settings_lists_the_settings_for_an_unknown_key(key: Any) -> None:
    """One that is close to none is answered with all there are."""
    with pytest.raises(ImproperlyConfigured) as caught:
        load_settings({key: 1})
    assert str(caught.value) == (
        f"DJANGO_SSE has no setting {key!r}; the settings are {', '.join(sorted(RULES))}."
    )


def test_load_settings_tells_of_all_problems_at_once() -> None:
    """Nobody has to run into them one by one."""
    with pytest.raises(ImproperlyConfigured) as caught:
        load_settings({"MAX_GROUP": 1, "MAX_GROUPS": 0, "ENCODER": "nowhere"})
    message = str(caught.value)
    assert "no setting 'MAX_GROUP'" in message
    assert "DJANGO_SSE['MAX_GROUPS'] is 0" in message
    assert "DJANGO_SSE['ENCODER'] cannot be imported" in message


@pytest.mark.parametrize("given", [None, [], "x", 7])
def test_get_settings_refuses_what_is_no_dict(given: Any, settings: Any) -> None:
    """The message names the value."""
    settings.DJANGO_SSE = given
    with pytest.raises(ImproperlyConfigured, match=re.escape(f"{given!r}; it must be a dict.")):
        get_settings()


def test_get_settings_without_the_setting_is_the_defaults(settings: Any) -> None:
    """DJANGO_SSE may be left out."""
    settings.DJANGO_SSE = {}
    del settings.DJANGO_SSE
    assert get_settings() == load_settings({})


def test_get_settings_is_read_once() -> None:
    """It is asked for with each event."""
    assert get_settings() is get_settings()


def test_get_settings_follows_override_settings() -> None:
    """A test's own settings hold inside its block, and not after it."""
    before = get_settings()
    with override_settings(DJANGO_SSE={"MAX_GROUPS": 3}):
        assert get_settings().max_groups == 3
        with override_settings(DJANGO_SSE={"MAX_GROUPS": 4}):
            assert get_settings().max_groups == 4
        assert get_settings().max_groups == 3
    assert get_settings() == before


def test_get_settings_is_kept_when_another_setting_changes() -> None:
    """Only DJANGO_SSE is its source."""
    before = get_settings()
    with override_settings(DEBUG=True):
        assert get_settings() is before


def test_get_settings_is_not_cached_when_it_is_wrong() -> None:
    """Each use says so, and a corrected setting is read."""
    with override_settings(DJANGO_SSE={"MAX_GROUPS": 0}):
        for _ in range(2):
            with pytest.raises(ImproperlyConfigured):
                get_settings()
    assert get_settings().max_groups == 100


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com",
        "http://localhost:3000",
        "http://127.0.0.1:8000",
        "https://[::1]:8000",
        "https://xn--bcher-kva.example",
        "moz-extension://0a1b2c3d",
    ],
)
def test_is_origin_takes_what_browsers_send(origin: str) -> None:
    """A scheme, a host, and the port where it is not the scheme's own."""
    assert is_origin(origin)


@pytest.mark.parametrize(
    "value",
    [
        "example.com",
        "https://",
        "://example.com",
        "https://example.com/",
        "https://example.com/path",
        "https://example.com?query",
        "https://user@example.com",
        "https://*.example.com",
        "https://Example.com",
        "HTTPS://example.com",
        "https://example.com:",
        "https://example.com\n",
        "https://a https://b",
        "null",
        "*",
        "",
        None,
        7,
        b"https://example.com",
    ],
)
def test_is_origin_refuses_what_could_never_match(value: object) -> None:
    """The header is compared as it is: a pattern or a path would shut pages out silently."""
    assert not is_origin(value)


def test_is_seconds_takes_numbers_with_an_end() -> None:
    """An endless wait is None where there may be one, not infinity."""
    assert is_seconds(1)
    assert is_seconds(0.001)
    assert is_seconds(10**400)  # Larger than any float.
    for value in (0, 0.0, -1, math.inf, math.nan, True, "1", None, 1j):
        assert not is_seconds(value)
