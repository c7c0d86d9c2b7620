"""Which store a project has: the one that it names, or the one that fits its channel layer."""

import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer
from django.core.checks import Error
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_sse import checks, stores
from django_sse.groups import layer_group
from django_sse.stores import BaseStore, get_store
from django_sse.stores.memory import MemoryStore
from django_sse.stores.redis import RedisStore

pytestmark = pytest.mark.history

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"


class OwnLayer(RedisChannelLayer):
    """A project's layer on channels_redis."""


class OtherLayer(InMemoryChannelLayer):
    """It stands for one that has nothing to do with Redis, and reaches one process."""


class QueueLayer:
    """A layer that reaches other processes by other means."""

    def __init__(self, **kwargs: Any) -> None:
        pass


class CheckedStore(MemoryStore):
    """A store that does not like its configuration, and hands its options on."""

    def __init__(self, *, colour: str = "red", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.colour = colour

    def check(self) -> list[Any]:
        return [Error("It is " + self.colour, id="own.E001")]


class NoStore:
    """It only looks like one."""


HERE = __name__


def layer(path: str, **config: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": path, "CONFIG": config}}


def hosts_of(store: BaseStore | None) -> Any:
    assert isinstance(store, RedisStore)
    return [clients._hosts for clients in store._clients]


# The default.


@pytest.mark.parametrize("path", [CORE, PUBSUB, f"{HERE}.OwnLayer"])
def test_layer_of_channels_redis_has_a_redis_store(settings: Any, path: str) -> None:
    """On the layer's servers; nothing connects to them yet."""
    settings.CHANNEL_LAYERS = layer(path, hosts=["redis://redis.invalid:1/3"])
    assert hosts_of(get_store()) == [[{"address": "redis://redis.invalid:1/3"}]]


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        ([], [[{"address": "redis://localhost:6379"}]]),
        ([("a", 1), ["b", 2]], [[{"host": "a", "port": 1}], [{"host": "b", "port": 2}]]),
        (["unix:///a"], [[{"address": "unix:///a"}]]),
        (
            [{"address": "rediss://a", "ssl_cert_reqs": None}, {"host": "b", "port": 2, "db": 3}],
            [
                [{"address": "rediss://a", "ssl_cert_reqs": None}],
                [{"host": "b", "port": 2, "db": 3}],
            ],
        ),
    ],
)
def test_hosts_are_taken_in_the_forms_of_the_layer(settings: Any, given: Any, parsed: Any) -> None:
    """URLs, pairs, and dicts of redis-py's options; several are shards."""
    settings.CHANNEL_LAYERS = layer(CORE, hosts=given)
    assert hosts_of(get_store()) == parsed


def test_layer_without_a_config_has_its_default_host(settings: Any) -> None:
    """As channels_redis does it."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": CORE}}
    assert hosts_of(get_store()) == [[{"address": "redis://localhost:6379"}]]


def test_prefix_of_the_layer_keeps_projects_apart(settings: Any) -> None:
    """Two projects on one Redis, with prefixes of their layers, do not mix their histories."""
    settings.CHANNEL_LAYERS = layer(CORE, hosts=["redis://a"], prefix="shop")
    store = get_store()
    assert isinstance(store, RedisStore)
    assert store._keys(["x"])[0] == f"shop:django_sse:{{{layer_group('x')}}}:head"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"hosts": [{"sentinels": [("a", 1)], "master_name": "m"}]}, "master_name, sentinels"),
        ({"hosts": [{"path": "/a", "connection_class": object}]}, "connection_class"),
        ({"hosts": "redis://a"}, "must be a list"),
        ({"hosts": [7]}, "hosts has 7"),
        ({"symmetric_encryption_keys": ["k"]}, "symmetric_encryption_keys"),
    ],
)
def test_layer_that_no_store_fits_asks_for_an_explicit_one(
    settings: Any, config: Any, words: str
) -> None:
    """E002: the project says what it wants."""
    settings.CHANNEL_LAYERS = layer(CORE, **config)
    with pytest.raises(
        ImproperlyConfigured, match=r"CHANNEL_LAYERS.*Set DJANGO_SSE\['STORE'\]"
    ) as found:
        get_store()
    assert words in str(found.value)
    [message] = checks.check_store()
    assert message.id == "django_sse.E002"
    settings.DJANGO_SSE = {"STORE": None}
    assert get_store() is None


@pytest.mark.parametrize(
    "layers",
    [
        {},
        layer("channels.layers.InMemoryChannelLayer"),
        layer(f"{HERE}.OtherLayer"),
        layer("no.such.Layer"),
        {"default": {}},
    ],
)
def test_any_other_layer_has_a_memory_store(settings: Any, layers: Any) -> None:
    """None at all, too."""
    settings.CHANNEL_LAYERS = layers
    assert isinstance(get_store(), MemoryStore)


def test_layer_of_the_alias_counts(settings: Any) -> None:
    """Not the default one."""
    settings.CHANNEL_LAYERS = {
        **layer("channels.layers.InMemoryChannelLayer"),
        "events": {"BACKEND": CORE},
    }
    settings.DJANGO_SSE = {"CHANNEL_LAYER": "events"}
    assert isinstance(get_store(), RedisStore)


# The setting.


def test_store_is_made_with_its_options(settings: Any) -> None:
    """OPTIONS are keyword arguments of the class."""
    settings.DJANGO_SSE = {
        "STORE": {
            "BACKEND": "django_sse.stores.memory.MemoryStore",
            "OPTIONS": {"max_events": 7, "max_age_seconds": 60},
        }
    }
    store = get_store()
    assert isinstance(store, MemoryStore)
    assert (store.max_events, store.max_age_seconds) == (7, 60)


def test_options_go_up_to_the_base_classes(settings: Any) -> None:
    """Where a class hands ``**kwargs`` on, the options of its parent are options."""
    own = {"BACKEND": f"{HERE}.CheckedStore", "OPTIONS": {"max_events": 7, "colour": "blue"}}
    settings.DJANGO_SSE = {"STORE": own}
    store = get_store()
    assert isinstance(store, CheckedStore)
    assert (store.max_events, store.colour) == (7, "blue")
    settings.DJANGO_SSE = {"STORE": {**own, "OPTIONS": {"size": 7, "color": "blue"}}}
    with pytest.raises(
        ImproperlyConfigured,
        match="CheckedStore has no option 'color', 'size'; its options are colour,"
        " max_age_seconds, max_events",
    ):
        get_store()


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ({"BACKEND": "no.such.Store"}, "'no.such.Store' cannot be imported"),
        ({"BACKEND": f"{HERE}.NoStore"}, "must be a subclass of django_sse.stores.BaseStore"),
        ({"BACKEND": f"{HERE}.HERE"}, "must be a subclass of django_sse.stores.BaseStore"),
        (
            {"BACKEND": "django_sse.stores.memory.MemoryStore", "OPTIONS": {"max_events": 0}},
            "MemoryStore: max_events is 0; it must be a number above 0.",
        ),
        (
            {"BACKEND": "django_sse.stores.redis.RedisStore", "OPTIONS": {"host": "x"}},
            "RedisStore has no option 'host'; its options are cluster, hosts, max_age_seconds,"
            " max_events, prefix, timeout_seconds, url.",
        ),
        *(
            ({"BACKEND": "django_sse.stores.redis.RedisStore", "OPTIONS": options}, words)
            for options, words in [
                ({"prefix": "a{b"}, "prefix is 'a{b'"),
                ({"prefix": ""}, "prefix is ''"),
                ({"timeout_seconds": 0}, "timeout_seconds is 0"),
                ({"url": "redis://a", "hosts": []}, "give url or hosts, not both"),
                ({"hosts": "redis://a"}, "must be a list"),
                ({"cluster": "yes"}, "cluster is 'yes'; it must be True or False"),
                (
                    {"url": "redis://:secret@a:7/9", "cluster": True},
                    "a:7 names the database 9, and a cluster has the database 0 alone",
                ),
                (
                    {"hosts": [("a", 1), {"host": "b", "db": 2}], "cluster": True},
                    "b:6379 names the database 2",
                ),
                ({"url": "unix:///run/redis", "cluster": True}, "'/run/redis' is a socket"),
            ]
        ),
    ],
)
def test_store_that_cannot_be_made_is_an_error(settings: Any, store: Any, words: str) -> None:
    """E002, with the reason; no other check repeats it."""
    settings.DJANGO_SSE = {"STORE": store}
    [message] = checks.check_store()
    assert message.id == "django_sse.E002"
    assert words in message.msg
    assert "stores.md" in str(message.hint)
    assert checks.check_store_is_shared() == []


def test_check_leaves_a_wrong_setting_to_its_own_check(settings: Any) -> None:
    """E001 is about the shape."""
    settings.DJANGO_SSE = {"STORE": "django_sse.stores.memory.MemoryStore"}
    assert checks.check_store() == checks.check_store_is_shared() == []
    assert [message.id for message in checks.check_settings()] == ["django_sse.E001"]


def test_check_passes_on_what_the_store_finds(settings: Any) -> None:
    """A store knows its own needs."""
    settings.DJANGO_SSE = {"STORE": {"BACKEND": f"{HERE}.CheckedStore"}}
    assert [message.id for message in checks.check_store()] == ["own.E001"]


def test_store_of_one_process_does_not_go_with_a_layer_of_many(settings: Any) -> None:
    """E003: by default too, where the layer is not of channels_redis."""
    settings.CHANNEL_LAYERS = layer(CORE)
    settings.DJANGO_SSE = {"STORE": {"BACKEND": "django_sse.stores.memory.MemoryStore"}}
    assert checks.check_store_is_shared() == [
        Error(
            "The channel layer reaches other processes, and the MemoryStore is of one process:"
            " streams would take the events that others publish for a history that was lost.",
            hint="Set DJANGO_SSE['STORE'] to a RedisStore or a DatabaseStore, or to None.",
            id="django_sse.E003",
        )
    ]
    settings.CHANNEL_LAYERS = layer(f"{HERE}.QueueLayer")
    settings.DJANGO_SSE = {}
    assert [message.id for message in checks.check_store_is_shared()] == ["django_sse.E003"]


@pytest.mark.parametrize(
    ("layers", "store"),
    [
        (layer("channels.layers.InMemoryChannelLayer"), "auto"),
        (layer(f"{HERE}.OtherLayer"), "auto"),
        (layer(CORE), "auto"),
        (layer(CORE), None),
        (layer(f"{HERE}.QueueLayer"), {"BACKEND": "django_sse.stores.redis.RedisStore"}),
        ({}, "auto"),
    ],
)
def test_store_that_goes_with_the_layer_is_no_error(
    settings: Any, layers: Any, store: Any
) -> None:
    """One process with one, many with many, or no history."""
    settings.CHANNEL_LAYERS = layers
    settings.DJANGO_SSE = {"STORE": store}
    assert checks.check_store() == checks.check_store_is_shared() == []


# One instance.


def test_store_is_one_per_process() -> None:
    """Threads that ask for the first time at once get the same."""
    found: list[BaseStore | None] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        found.append(get_store())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(store is get_store() for store in found)


def test_store_is_forgotten_when_the_settings_change() -> None:
    """Those of it, or of the layer; others do not matter."""
    first = get_store()
    with override_settings(DEBUG=True):
        assert get_store() is first
    with override_settings(DJANGO_SSE={"MAX_GROUPS": 5}):
        assert (second := get_store()) is not first
        with override_settings(CHANNEL_LAYERS=layer(CORE)):
            assert isinstance(get_store(), RedisStore)
        assert get_store() is not second
    stores.forget_store()
    assert get_store() is get_store()


def test_import_of_the_package_does_not_import_redis() -> None:
    """Who has no Redis has no redis-py."""
    script = "import sys, django_sse.stores; sys.exit('redis' in sys.modules)"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    assert subprocess.run([sys.executable, "-c", script], env=environment).returncode == 0
