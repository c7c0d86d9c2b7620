"""A hub's one channel in the channel layer, and the groups it is in."""

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.layers import channel_layers

from django_sse import layer_link
from django_sse.exceptions import ChannelLayerUnavailable
from django_sse.layer_link import LayerLink
from django_sse.metrics import metrics
from tests.clients import until
from tests.fake_layer import FakeLayer


@pytest.fixture
async def layer() -> FakeLayer:
    """The project's channel layer."""
    layer = FakeLayer()
    channel_layers.set("default", layer)
    return layer


@pytest.fixture
def messages() -> list[dict[str, Any]]:
    """What the link has brought."""
    return []


def make_link(
    on_message: Callable[[dict[str, Any]], None],
    on_left: Callable[[str], None] = lambda group: None,
    on_return: Callable[[], None] = lambda: None,
    context: contextvars.Context | None = None,
) -> LayerLink:
    """Return a link that tells of what a test asks for."""
    return LayerLink(on_message, on_left, on_return, context or contextvars.copy_context())


@pytest.fixture
async def link(layer: FakeLayer, messages: list[dict[str, Any]]) -> AsyncIterator[LayerLink]:
    """A link to the layer."""
    link = make_link(messages.append)
    yield link
    await link.close()


@pytest.fixture
def no_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a group as soon as its last member has gone."""
    monkeypatch.setattr(layer_link, "_LINGER_SECONDS", 0)


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Wait for nothing after a failure. Returns the numbers of failures so far."""
    failures: list[int] = []

    def backoff(count: int) -> float:
        failures.append(count)
        return 0

    monkeypatch.setattr(layer_link, "_backoff", backoff)
    return failures


class TestJoin:
    async def test_one_channel_for_all_groups(self, link, layer):
        """The channel is made once, with the first group."""
        await link.join(["a", "b"])
        await link.join(["c"])
        assert len(layer.called("new_channel")) == 1
        assert layer.called("group_add") == ["sse.g.a", "sse.g.b", "sse.g.c"]
        assert link.size == 3

    async def test_one_membership_for_many_members(self, link, layer):
        """The layer hears of the first member of a group only."""
        for _ in range(5):
            await link.join(["a"])
        assert layer.called("group_add") == ["sse.g.a"]

    async def test_concurrent_joins_of_one_group(self, link, layer):
        """Those who join at once make one call, and each returns when the layer has answered."""
        layer.gates["group_add"] = asyncio.Event()
        joins = [asyncio.create_task(link.join(["a"])) for _ in range(5)]
        await until(lambda: layer.called("group_add"))
        await asyncio.sleep(0)
        assert not any(join.done() for join in joins)
        layer.gates["group_add"].set()
        await asyncio.gather(*joins)
        assert layer.called("group_add") == ["sse.g.a"]
        assert len(layer.called("new_channel")) == 1

    async def test_calls_at_once_are_bounded(self, link, layer):
        """A crowd that joins does not use up the layer's connections."""
        layer.gates["group_add"] = asyncio.Event()
        joins = [asyncio.create_task(link.join([f"group {n}"])) for n in range(100)]
        await until(lambda: layer.in_flight == 20)
        layer.gates["group_add"].set()
        await asyncio.gather(*joins)
        assert layer.most_in_flight == 20
        assert len(layer.called("group_add")) == 100

    async def test_layer_that_refuses(self, link, layer):
        """A failing layer is told with the groups and the cause; nothing is left joined."""
        layer.failures["group_add"] = [ConnectionError("refused")]
        with pytest.raises(
            ChannelLayerUnavailable, match=r"into \['a', 'b'\]: ConnectionError: refused"
        ) as caught:
            await link.join(["a", "b"])
        assert isinstance(caught.value.__cause__, ConnectionError)
        assert metrics.layer_errors == 1
        await link.join(["a"])
        assert layer.called("group_add") == ["sse.g.a", "sse.g.a"]

    async def test_layer_that_gives_no_channel(self, link, layer, no_linger):
        """Nor is anything where not even a channel is to be had; later it works."""
        layer.failures["new_channel"] = [ConnectionError("refused")]
        with pytest.raises(ChannelLayerUnavailable):
            await link.join(["a"])
        await until(lambda: link.size == 0)
        await link.join(["a"])
        assert layer.called("group_add") == ["sse.g.a"]

    async def test_one_of_two_groups_fails(self, link, layer, no_linger):
        """The group that was joined before the failure is left again."""
        layer.failures["group_add"] = [None, ConnectionError("refused")]
        with pytest.raises(ChannelLayerUnavailable):
            await link.join(["a", "b"])
        await until(lambda: link.size == 0)
        assert layer.called("group_add") == ["sse.g.a", "sse.g.b"]
        assert "sse.g.a" in layer.called("group_discard")

    async def test_layer_that_takes_too_long(self, link, layer, settings):
        """A layer that does not answer is given up after CHANNEL_LAYER_TIMEOUT_SECONDS."""
        settings.DJANGO_SSE = {"CHANNEL_LAYER_TIMEOUT_SECONDS": 0.01}
        layer.gates["group_add"] = asyncio.Event()
        with pytest.raises(ChannelLayerUnavailable, match="TimeoutError"):
            await link.join(["a"])
        settings.DJANGO_SSE = {}
        layer.gates.clear()
        await link.join(["a"])

    async def test_join_that_is_cancelled(self, link, layer, no_linger):
        """Who gives up joining leaves nothing behind."""
        layer.gates["group_add"] = asyncio.Event()
        join = asyncio.create_task(link.join(["a"]))
        await until(lambda: layer.called("group_add"))
        join.cancel()
        with pytest.raises(asyncio.CancelledError):
            await join
        layer.gates.clear()
        await until(lambda: link.size == 0)


class TestLeave:
    async def test_last_member_leaves(self, link, layer, no_linger):
        """The layer hears of the last member that leaves, not of those before."""
        await link.join(["a"])
        await link.join(["a"])
        link.leave(["a"])
        await asyncio.sleep(0)
        assert layer.called("group_discard") == []
        link.leave(["a"])
        await until(lambda: layer.called("group_discard") == ["sse.g.a"])
        await until(lambda: link.size == 0)

    async def test_group_lingers(self, link, layer, monkeypatch):
        """A page that reloads leaves and joins: the layer does not hear of it."""
        timers: list[Any] = []

        def call_later(loop: Any, delay: float, *args: Any, **kwargs: Any) -> None:
            timers.append((delay, args))

        monkeypatch.setattr(type(asyncio.get_running_loop()), "call_later", call_later)
        await link.join(["a"])
        link.leave(["a"])
        await link.join(["a"])
        [(delay, (callback, group))] = timers
        assert (delay, group) == (layer_link._LINGER_SECONDS, "a")
        callback(group)
        await asyncio.sleep(0)
        assert layer.called("group_add") == ["sse.g.a"]
        assert layer.called("group_discard") == []

    async def test_join_while_the_layer_is_left(self, link, layer, no_linger):
        """A join does not overtake the leaving: it is added after it was discarded."""
        await link.join(["a"])
        layer.gates["group_discard"] = asyncio.Event()
        link.leave(["a"])
        await until(lambda: layer.called("group_discard"))
        join = asyncio.create_task(link.join(["a"]))
        await asyncio.sleep(0)
        assert layer.called("group_add") == ["sse.g.a"]
        layer.gates["group_discard"].set()
        await join
        assert [call for call in layer.calls if "group" in call[0]] == [
            ("group_add", "sse.g.a"),
            ("group_discard", "sse.g.a"),
            ("group_add", "sse.g.a"),
        ]
        assert link.size == 1

    async def test_layer_that_does_not_let_go(self, link, layer, no_linger, caplog):
        """A layer that fails on leaving is logged, and forgotten: its messages are ignored."""
        await link.join(["a"])
        layer.failures["group_discard"] = [ConnectionError("refused")]
        link.leave(["a"])
        await until(lambda: link.size == 0)
        assert "Could not leave the group 'a'" in caplog.text
        await link.join(["a"])
        assert layer.called("group_add") == ["sse.g.a", "sse.g.a"]

    async def test_group_that_was_left_is_told(self, layer, messages, no_linger):
        """The link says from when on nothing of a group is received; not before."""
        left: list[str] = []
        link = make_link(messages.append, on_left=left.append)
        await link.join(["a"])
        await link.join(["a", "b"])
        link.leave(["a", "b"])
        await until(lambda: left)
        assert left == ["b"]
        link.leave(["a"])
        await until(lambda: left == ["b", "a"])
        await link.close()

    async def test_group_that_is_joined_again_in_time_is_not_told(self, layer, messages):
        """Within the time that a group lingers nothing has been missed."""
        left: list[str] = []
        link = make_link(messages.append, on_left=left.append)
        await link.join(["a"])
        link.leave(["a"])
        await link.join(["a"])
        link._leave_if_unwanted("a")
        assert link.size == 1
        assert left == []
        await link.close()


class TestReceive:
    async def test_messages_are_brought(self, link, layer, messages):
        """What the layer's receive() returns is handed on, one after the other."""
        await link.join(["a"])
        for number in range(3):
            layer.inbox.put_nowait({"n": number})
        await until(lambda: len(messages) == 3)
        assert messages == [{"n": 0}, {"n": 1}, {"n": 2}]
        assert set(layer.called("receive")) == {"channel.1"}

    async def test_failing_layer_is_joined_again(self, link, layer, messages, no_backoff, caplog):
        """After a failure the link waits, joins all its groups again, and receives on."""
        caplog.set_level(logging.INFO, "django.sse")
        await link.join(["a", "b"])
        layer.inbox.put_nowait(ConnectionError("gone"))
        await until(lambda: len(layer.called("group_add")) == 4)
        layer.inbox.put_nowait({"n": 1})
        await until(lambda: messages)
        assert sorted(layer.called("group_add")[2:]) == ["sse.g.a", "sse.g.b"]
        assert metrics.layer_errors == 1
        assert no_backoff == [1]
        texts = [record.getMessage() for record in caplog.records]
        assert "The channel layer fails (ConnectionError: gone); trying on." in texts
        assert "The channel layer is back; 2 groups joined again." in texts

    async def test_return_is_told(self, layer, messages, no_backoff):
        """When all is joined again, the link says that messages may have been lost."""
        returns: list[list[str]] = []
        link = make_link(
            messages.append, on_return=lambda: returns.append(layer.called("group_add"))
        )
        await link.join(["a"])
        layer.inbox.put_nowait({"n": 1})
        await until(lambda: messages)
        assert returns == []
        layer.inbox.put_nowait(ConnectionError("gone"))
        await until(lambda: returns)
        assert returns == [["sse.g.a", "sse.g.a"]]
        await link.close()

    async def test_join_again(self, link, layer, caplog):
        """A layer that seems to have forgotten is told once more of the groups that are wanted."""
        await link.join(["a", "b"])
        link.join_again(["a", "gone"])
        await until(lambda: len(layer.called("group_add")) == 3)
        layer.failures["group_add"] = [ConnectionError("down")]
        link.join_again(["b"])
        await until(lambda: "Could not renew the memberships of groups." in caplog.text)
        assert layer.called("group_add") == ["sse.g.a", "sse.g.b", "sse.g.a", "sse.g.b"]

    async def test_layer_that_goes_on_failing(self, link, layer, messages, no_backoff, caplog):
        """Each further failure waits longer; the log tells of the first one."""
        await link.join(["a"])
        layer.failures["group_add"] = [ConnectionError(f"still {n}") for n in range(3)]
        layer.inbox.put_nowait(ConnectionError("gone"))
        layer.inbox.put_nowait({"n": 1})
        await until(lambda: messages)
        assert no_backoff == [1, 2, 3, 4]
        assert metrics.layer_errors == 4
        errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(errors) == 1

    async def test_join_while_the_layer_fails(self, link, layer, monkeypatch):
        """Who joins a group that the layer may have forgotten asks the layer."""
        monkeypatch.setattr(layer_link, "_backoff", lambda failures: 3600)
        await link.join(["a"])
        layer.inbox.put_nowait(ConnectionError("gone"))
        await until(lambda: metrics.layer_errors)
        await link.join(["a"])
        assert layer.called("group_add") == ["sse.g.a", "sse.g.a"]

    async def test_tasks_run_in_the_given_context(self, layer, messages):
        """The receiving is in the hub's context, whoever joined first."""
        variable = contextvars.ContextVar("variable", default="none")
        context = contextvars.copy_context()
        variable.set("of a request")
        seen = []
        link = make_link(lambda message: seen.append(variable.get()), context=context)
        await link.join(["a"])
        layer.inbox.put_nowait({})
        await until(lambda: seen)
        assert seen == ["none"]
        await link.close()

    async def test_close_ends_the_tasks(self, layer, messages):
        """After close() nothing is received."""
        link = make_link(messages.append)
        await link.join(["a"])
        await until(lambda: layer.called("receive"))
        await link.close()
        layer.inbox.put_nowait({})
        await asyncio.sleep(0)
        assert messages == []
        assert not link._tasks

    async def test_close_forgets_the_groups_that_linger(self, layer, messages, no_linger):
        """The loop may go on: a link that is closed says nothing more to the layer."""
        link = make_link(messages.append)
        await link.join(["a"])
        link.leave(["a"])
        passed = asyncio.get_running_loop().create_future()
        await link.close()
        # Behind the timer of the group, which is due by now.
        asyncio.get_running_loop().call_later(0.001, passed.set_result, None)
        await passed
        assert not link._tasks
        assert layer.called("group_discard") == []

    def test_backoff(self):
        """The waits double up to a limit, and are spread."""
        for failures, longest in ((1, 0.2), (2, 0.4), (5, 3.2), (6, 5), (1000, 5)):
            waits = [layer_link._backoff(failures) for _ in range(50)]
            assert longest / 2 <= min(waits)
            assert max(waits) <= longest
            assert max(waits) - min(waits) > longest / 10


class TestRenew:
    @pytest.fixture
    def quickly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Renew the memberships all the time."""
        monkeypatch.setattr(layer_link, "_RENEW_SECONDS", 0.001)
        monkeypatch.setattr(layer_link, "_RENEWALS_A_SECOND", 100_000)

    async def test_memberships_are_renewed(self, quickly, link, layer):
        """A layer that has forgotten the channel is told again, again and again."""
        await link.join(["a", "b"])
        await until(lambda: len(layer.called("group_add")) >= 6)
        assert set(layer.called("group_add")) == {"sse.g.a", "sse.g.b"}

    async def test_renewal_that_fails(self, quickly, link, layer, caplog):
        """A failing renewal is logged, counted, and tried again."""
        await link.join(["a"])
        layer.failures["group_add"] = [ConnectionError("gone")]
        await until(lambda: len(layer.called("group_add")) >= 3)
        assert "Could not renew the memberships of groups" in caplog.text
        assert metrics.layer_errors == 1
        assert link.size == 1

    async def test_group_expiry_is_observed(self, layer, messages, monkeypatch):
        """A layer with a short group_expiry is renewed four times within it."""
        layer.group_expiry = 0.004
        link = make_link(messages.append)
        await link.join(["a"])
        await until(lambda: len(layer.called("group_add")) >= 3)
        await link.close()

    async def test_membership_that_is_left_meanwhile(self, quickly, link, layer, no_linger):
        """A group that nobody wants any more is not joined anew."""
        await link.join(["a"])
        await link.join(["b"])
        link.leave(["a"])
        await until(lambda: link.size == 1)
        layer.calls.clear()
        await until(lambda: len(layer.called("group_add")) >= 2)
        assert set(layer.called("group_add")) == {"sse.g.b"}

    async def test_layer_that_has_gone_silent(
        self, quickly, link, layer, messages, settings, caplog
    ):
        """A layer that does not bring a message to oneself is received from anew."""
        await link.join(["a"])
        await until(lambda: layer.called("receive"))
        settings.DJANGO_SSE = {"CHANNEL_LAYER_TIMEOUT_SECONDS": 0.1}
        # As Channels' in-memory layer, which may drop the queue that receive() waits at.
        layer.inbox = asyncio.Queue()
        await until(lambda: "receiving begins anew" in caplog.text)
        layer.inbox.put_nowait({"n": 1})
        await until(lambda: messages)
        assert messages == [{"n": 1}]
        assert metrics.layer_errors >= 1

    async def test_messages_to_oneself_are_not_handed_on(self, quickly, link, layer, messages):
        """They are no events."""
        await link.join(["a"])
        await until(lambda: len(layer.called("send")) >= 3)
        assert messages == []
