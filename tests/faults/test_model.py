"""Hub, store and streams while everything fails at once, as far as one process goes."""

import copy
from typing import Any

import pytest
from channels.layers import channel_layers
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from django_sse import publishing, stores
from tests.faults.model import World
from tests.faults.model_clients import Client

pytestmark = [pytest.mark.faults, pytest.mark.history]

GROUPS = ("a", "b", "c")
#: So small that a client that stalls is soon left to read from the store.
SETTINGS = {"QUEUE_MAX_BYTES": 600, "CHANNEL_LAYER_TIMEOUT_SECONDS": 1.5}

some_groups = st.lists(st.sampled_from(GROUPS), min_size=1, unique=True).map(tuple)
any_number = st.integers(0, 1000)


class Model(RuleBasedStateMachine):
    """What is published reaches every client of its groups once, in order, or it is told."""

    def __init__(self) -> None:
        super().__init__()
        self._overriding = override_settings(DJANGO_SSE=SETTINGS)
        self._overriding.enable()
        self.world = World()
        channel_layers.set("default", self.world.layer)
        stores._made["store"] = self.world.store
        publishing._backlog._reset()
        self.world.start()
        self._snapshot: dict[str, Any] | None = None

    def teardown(self) -> None:
        try:
            self.world.settle()
        finally:
            self.world.close()
            publishing._backlog._reset()
            self._overriding.disable()

    def _client(self, number: int) -> Client:
        return self.world.clients[number % len(self.world.clients)]

    # Clients.

    @precondition(lambda self: len(self.world.clients) < 5)
    @rule(groups=some_groups, count=st.integers(1, 2))
    def open_streams(self, groups: tuple[str, ...], count: int) -> None:
        for _ in range(count):
            client = Client(self.world, groups)
            self.world.clients.append(client)
            self.world.spawn(client.open())
        self.world.advance()

    @precondition(lambda self: self.world.clients)
    @rule(which=any_number, everyone=st.booleans())
    def stall(self, which: int, everyone: bool) -> None:
        for client in self.world.clients if everyone else [self._client(which)]:
            client.stall()

    @precondition(lambda self: self.world.clients)
    @rule(which=any_number)
    def resume(self, which: int) -> None:
        self._client(which).resume()

    @precondition(lambda self: self.world.clients)
    @rule(which=any_number)
    def read(self, which: int) -> None:
        self._client(which).read()

    @precondition(lambda self: self.world.clients)
    @rule(which=any_number, cut=st.integers(0, 600), at_once=st.booleans())
    def leave(self, which: int, cut: int, at_once: bool) -> None:
        client = self._client(which)
        self.world.run(client.leave(cut))
        if at_once:
            self.world.spawn(client.open())
        self.world.advance()

    @rule()
    def come_back(self) -> None:
        for client in self.world.clients:
            if not client.is_open:
                self.world.spawn(client.open())
        self.world.advance()

    # Events.

    @rule(
        groups=some_groups,
        key=st.sampled_from([None, None, None, "k"]),
        count=st.integers(1, 6),
        padding=st.sampled_from([0, 0, 250, 500]),
        history=st.sampled_from([True, True, True, False]),
    )
    def publish(
        self, groups: tuple[str, ...], key: str | None, count: int, padding: int, history: bool
    ) -> None:
        for _ in range(count):
            # What is in no history may replace what is in one, if it has its key.
            self.world.publish(groups, key if history else None, padding, history=history)
        self.world.advance()

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.06, 0.5, 2.1, 7.0]))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    # The layer.

    @rule(
        which=st.lists(any_number, max_size=8),
        order=st.sampled_from(["rest", "rest", "asked", "none"]),
    )
    def bring(self, which: list[int], order: str) -> None:
        """Bring some messages in any order, some of them again; then the rest, or lose it."""
        pending = self.world.layer.pending
        for index in which if pending else ():
            self.world.layer.bring(index % len(pending))
        if order == "rest":
            for index in range(len(pending)):
                self.world.layer.bring(index)
        if order != "asked":
            pending.clear()
        self.world.advance()

    @rule(how=st.sampled_from(["forgets", "fails", "works"]))
    def change_layer(self, how: str) -> None:
        if how == "forgets":
            self.world.layer.forget()
        elif how == "fails":
            self.world.layer.break_down()
        else:
            self.world.layer.is_down = False
        self.world.advance()

    # The store.

    @rule(
        how=st.sampled_from(["fails", "is mute", "works"]), latency=st.sampled_from([0, 0.01, 2])
    )
    def change_store(self, how: str, latency: float) -> None:
        store = self.world.store
        store.is_down, store.is_mute = how == "fails", how == "is mute"
        store.latency = latency

    @rule()
    def empty_store(self) -> None:
        self.world.store.forget_all()
        self.world.lose_all()

    @rule()
    def save_store(self) -> None:
        self._snapshot = copy.copy(self.world.store.save())

    @precondition(lambda self: self._snapshot is not None)
    @rule()
    def restore_store(self) -> None:
        assert self._snapshot is not None
        self.world.store.restore(self._snapshot)
        self.world.lose_all()

    @rule()
    def settle(self) -> None:
        self.world.settle()


Model.TestCase.settings = settings(
    derandomize=True,  # The suite finds the same each time; a search for more is made by hand.
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestModel = Model.TestCase
