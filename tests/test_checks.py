"""System checks: what is misconfigured is told before the first request."""

from io import StringIO
from typing import Any

import pytest
from django.core.checks import CheckMessage, Error, Tags, Warning, registry, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.urls import include, path

from django_sse import checks

IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
REDIS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}
ALL = [
    checks.check_settings,
    checks.check_channel_layer,
    checks.check_asgi,
    checks.check_process_count,
    checks.check_registry,
    checks.check_store,
    checks.check_store_is_shared,
    checks.check_group_access,
    checks.check_tokens_are_rechecked,
]
DEPLOYED_ONLY = {checks.check_process_count, checks.check_tokens_are_rechecked}


class WithUrls:
    """A URLconf with the package's own."""

    urlpatterns = [path("sse/", include("django_sse.urls"))]


def ours(**options: Any) -> list[CheckMessage]:
    """Return what the package's checks say, run as Django runs them."""
    return [
        message for message in run_checks(**options) if str(message.id).startswith("django_sse.")
    ]


def test_checks_are_registered() -> None:
    """The app registers each of them; that of the processes is for a deployment."""
    here = {check for check in registry.registry.get_checks() if check in ALL}
    deployed = {check for check in registry.registry.get_checks(True) if check in ALL}
    assert here == set(ALL) - DEPLOYED_ONLY
    assert deployed == set(ALL)
    assert Tags.security not in getattr(checks.check_process_count, "tags", ())


def test_checks_of_a_sound_project_say_nothing(settings: Any) -> None:
    """The test project itself is one."""
    assert ours() == []
    settings.CHANNEL_LAYERS = REDIS
    assert ours(include_deployment_checks=True) == []


def test_check_settings_tells_what_is_wrong(settings: Any) -> None:
    """E001: a typo, or a value that breaks its rule."""
    settings.DJANGO_SSE = {"HEARTBEAT": 15, "MAX_GROUPS": 0}
    assert checks.check_settings() == [
        Error(
            "DJANGO_SSE has no setting 'HEARTBEAT'; did you mean 'HEARTBEAT_SECONDS'?"
            " DJANGO_SSE['MAX_GROUPS'] is 0; it must be a whole number from 1 to 300.",
            hint="docs/reference/settings.md lists every setting with its rule.",
            id="django_sse.E001",
        )
    ]


@pytest.mark.parametrize("given", [None, ["HEARTBEAT_SECONDS"], {"ENCODER": "no.such"}])
def test_check_settings_tells_of_every_kind_of_mistake(settings: Any, given: Any) -> None:
    """E001, and no check raises."""
    settings.DJANGO_SSE = given
    assert [message.id for message in ours(include_deployment_checks=True)] == ["django_sse.E001"]


def test_check_command_fails_on_a_settings_typo(settings: Any) -> None:
    """``manage.py check``, and each command that runs checks, stops there."""
    settings.DJANGO_SSE = {"MAX_EVENT_BYTE": 5}
    with pytest.raises(SystemCheckError, match=r"django_sse\.E001"):
        call_command("check", stdout=StringIO(), stderr=StringIO())


def test_check_channel_layer_tells_of_a_missing_layer(settings: Any) -> None:
    """W001: without a layer a stream can have no groups."""
    settings.CHANNEL_LAYERS = {}
    assert ours(include_deployment_checks=True) == [
        Warning(
            "There is no channel layer 'default', so that streams can have no groups, and"
            " nothing can be published.",
            hint="Add 'default' to CHANNEL_LAYERS.",
            id="django_sse.W001",
        )
    ]


def test_check_channel_layer_looks_for_the_alias_of_the_settings(settings: Any) -> None:
    """W001 names the alias; the layer of another alias does not count."""
    settings.CHANNEL_LAYERS = {**IN_MEMORY, "events": IN_MEMORY["default"]}
    settings.DJANGO_SSE = {"CHANNEL_LAYER": "events"}
    assert checks.check_channel_layer() == []
    settings.DJANGO_SSE = {"CHANNEL_LAYER": "sse"}
    [message] = checks.check_channel_layer()
    assert message.id == "django_sse.W001"
    assert "'sse'" in message.msg
    assert "'sse'" in str(message.hint)


def test_check_channel_layer_leaves_wrong_settings_to_their_own_check(settings: Any) -> None:
    """One mistake, one message."""
    settings.DJANGO_SSE = {"CHANNEL_LAYER": None}
    settings.CHANNEL_LAYERS = {}
    assert checks.check_channel_layer() == []
    assert checks.check_process_count() == []
    assert [message.id for message in checks.check_settings()] == ["django_sse.E001"]


@pytest.mark.parametrize("value", ["", None])
def test_check_asgi_tells_of_a_project_without_asgi(settings: Any, value: Any) -> None:
    """W002: under WSGI every stream is a 501."""
    settings.ASGI_APPLICATION = value
    assert ours() == [
        Warning(
            "ASGI_APPLICATION is not set: under WSGI an event stream is answered with 501.",
            hint="Put 'daphne' first in INSTALLED_APPS and set ASGI_APPLICATION to the path of"
            " what django_sse.asgi.get_asgi_application() returned.",
            id="django_sse.W002",
        )
    ]


def test_check_asgi_takes_a_project_that_has_never_heard_of_it(settings: Any) -> None:
    """W002: the setting may be missing altogether."""
    del settings.ASGI_APPLICATION
    assert [message.id for message in checks.check_asgi()] == ["django_sse.W002"]


def test_check_process_count_tells_of_the_in_memory_layer(settings: Any) -> None:
    """W003, on deployment only: one process does not reach the streams of another."""
    settings.CHANNEL_LAYERS = IN_MEMORY
    assert ours() == []
    assert ours(include_deployment_checks=True) == [
        Warning(
            "The channel layer is the in-memory one: what one process publishes does not reach"
            " the streams of another.",
            hint="Use channels_redis, or serve with one process and publish from no other.",
            id="django_sse.W003",
        )
    ]


@pytest.mark.parametrize("name", ["core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"])
def test_check_process_count_takes_a_layer_of_several_processes(settings: Any, name: str) -> None:
    """Both layers of channels_redis reach every process; nothing connects for the check."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"channels_redis.{name}"}}
    assert checks.check_process_count() == []


def test_check_group_access_tells_of_a_function_that_nothing_asks(settings: Any) -> None:
    """W004: without the package's URLs there are no streams by name."""
    settings.DJANGO_SSE = {"GROUP_ACCESS": lambda request, group: True}
    assert ours() == [
        Warning(
            "DJANGO_SSE['GROUP_ACCESS'] says who may read groups by name, and there is no URL for"
            " that.",
            hint="Add path('sse/', include('django_sse.urls')) to the URLconf, or take the setting"
            " out.",
            id="django_sse.W004",
        )
    ]
    settings.ROOT_URLCONF = WithUrls
    assert ours() == []


def test_check_tokens_are_rechecked_tells_of_streams_that_outlive_a_login(settings: Any) -> None:
    """W005, on deployment only: nobody looks again whose an open stream is."""
    settings.CHANNEL_LAYERS = REDIS
    settings.ROOT_URLCONF = WithUrls
    assert ours() == []
    assert ours(include_deployment_checks=True) == [
        Warning(
            "django_sse.urls is included, and RECHECK_SECONDS is not set: an open stream of groups"
            " goes on when its reader logs out or may not read a group any more.",
            hint="Set DJANGO_SSE['RECHECK_SECONDS'], to 60 for example.",
            id="django_sse.W005",
        )
    ]
    settings.DJANGO_SSE = {"RECHECK_SECONDS": 60}
    assert ours(include_deployment_checks=True) == []


@pytest.mark.parametrize("given", [None, ""])
def test_checks_of_a_project_without_urls(settings: Any, given: Any) -> None:
    """It may serve something else than Django's views; there is nothing to look for."""
    settings.ROOT_URLCONF = given
    settings.DJANGO_SSE = {"GROUP_ACCESS": lambda request, group: True}
    assert [message.id for message in checks.check_group_access()] == ["django_sse.W004"]
    assert checks.check_tokens_are_rechecked() == []


@pytest.mark.parametrize("check", [checks.check_group_access, checks.check_tokens_are_rechecked])
def test_checks_of_streams_of_groups_leave_wrong_settings_to_their_own_check(
    settings: Any, check: Any
) -> None:
    """One mistake, one message."""
    settings.ROOT_URLCONF = WithUrls
    settings.DJANGO_SSE = {"GROUP_ACCESS": "no.such"}
    assert check() == []


def test_every_check_has_an_id_of_its_own(settings: Any) -> None:
    """They are listed in the docs, and can be silenced one by one."""
    settings.SILENCED_SYSTEM_CHECKS = ["django_sse.W002"]
    settings.ASGI_APPLICATION = None
    [message] = checks.check_asgi()
    assert message.is_silenced()


@pytest.mark.parametrize(
    ("given", "ids"), [("nowhere", ["django_sse.E004"]), ("default", []), (False, []), (True, [])]
)
def test_check_registry_tells_of_a_database_that_is_not_there(
    given: Any, ids: list[str], settings: Any
) -> None:
    """The registry may be in another database, of those that the project has."""
    settings.DJANGO_SSE = {"REGISTRY": given}
    assert [message.id for message in checks.check_registry()] == ids


def test_check_registry_leaves_mistakes_to_the_check_of_the_settings(settings: Any) -> None:
    """Nobody is told twice."""
    settings.DJANGO_SSE = {"REGISTRY": None}
    assert checks.check_registry() == []
