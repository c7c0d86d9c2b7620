"""A channel layer whose hosts are nodes of a Redis Cluster."""

import logging
from typing import Any

import pytest

from django_sse import apublish, subscribe
from django_sse.exceptions import ChannelLayerUnavailable
from tests.redis_nodes import Cluster
from tests.settings import channel_layer

pytestmark = pytest.mark.redis


async def test_core_layer_on_a_cluster_is_told_of(
    redis_cluster: Cluster, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Its keys are wherever the cluster wants them; joining and publishing say what to do."""
    entry = channel_layer("core")
    entry["CONFIG"] = {"hosts": redis_cluster.urls}
    settings.CHANNEL_LAYERS = {"default": entry}
    groups = [f"g{number}" for number in range(20)]
    with pytest.raises(ChannelLayerUnavailable, match=r"node of a Redis Cluster.*RedisPubSub"):
        await subscribe(*groups).__aenter__()
    with caplog.at_level(logging.ERROR):
        for group in groups:
            await apublish(group, 1)
    assert "is a node of a Redis Cluster" in caplog.text
