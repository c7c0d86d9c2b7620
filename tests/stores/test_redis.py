"""The Redis store: its keys, its round trips, its connections, and a server that misbehaves."""

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py
from django.core.exceptions import ImproperlyConfigured

from django_sse import processes
from django_sse.positions import START, new_mark
from django_sse.stores.base import BaseStore, PartlyAppended
from django_sse.stores.redis import RedisStore
from tests.redis_nodes import Cluster, slot_of
from tests.services import free_port
from tests.stores.conftest import Kind, store_options

pytestmark = pytest.mark.redis

HOUR_MS = 3_600_000
DAY_MS = 86_400_000


def message(text: str = "") -> dict[str, Any]:
    return {"mark": new_mark(), "data": text}


@pytest.fixture
def own(own_redis: str) -> Iterator[Any]:
    """A client of the test's own server."""
    with redis_py.Redis.from_url(own_redis) as client:
        yield client


@pytest.fixture
def store(own_redis: str) -> RedisStore:
    """A store on the test's own server."""
    return RedisStore(own_redis)


def calls(client: Any) -> dict[str, int]:
    """Return how often each command was sent since the last time."""
    found = {name[8:]: stats["calls"] for name, stats in client.info("commandstats").items()}
    client.config_resetstat()
    return {name: found[name] for name in ("evalsha", "eval") if name in found}


def test_group_has_two_keys_in_one_place(store: RedisStore, own: Any) -> None:
    """A cluster holds them together; a name with braces does not change that."""
    for group in ("room", "{a}b", ""):
        store.append([group], message())
        keys = sorted(own.scan_iter("*"))
        assert [key.rpartition(b":")[2] for key in keys] == [b"head", b"log"]
        tags = {key[key.index(b"{") + 1 : key.index(b"}")] for key in keys}
        assert len(tags) == 1
        own.flushall()


def test_entry_is_its_number_and_the_time_of_the_server(store: RedisStore, own: Any) -> None:
    """The clock of a client does not matter."""
    before = own.time()
    [entry] = store.append(["room"], message("é"))
    after = own.time()
    [(id, fields)] = own.xrange("django_sse:{sse.g.room}:log")
    number, _, ms = id.decode().partition("-")
    assert number == "1"
    assert before[0] * 1000 + before[1] // 1000 <= int(ms) <= after[0] * 1000 + after[1] // 1000
    assert fields == {
        b"mark": entry.mark.encode(),
        b"previous": START.mark.encode(),
        b"message": f'{{"mark":"{entry.mark}","data":"é"}}'.encode(),
    }
    assert own.hgetall("django_sse:{sse.g.room}:head") == {
        b"number": b"1",
        b"mark": entry.mark.encode(),
    }


def test_keys_expire_by_themselves(store: RedisStore, own: Any) -> None:
    """The log when all in it is too old, the head a day later; each append begins anew."""
    log, head = "django_sse:{sse.g.room}:log", "django_sse:{sse.g.room}:head"
    for _ in range(2):
        store.append(["room"], message())
        assert HOUR_MS - 60_000 < own.pttl(log) <= HOUR_MS
        assert HOUR_MS + DAY_MS - 60_000 < own.pttl(head) <= HOUR_MS + DAY_MS
        own.pexpire(log, 1000)
        own.pexpire(head, 1000)
    store.trim("room")
    assert own.pttl(log) <= 1000


def test_head_that_is_asked_for_is_kept(store: RedisStore, own: Any) -> None:
    """An open stream on a silent group is not told of a loss when the head would expire."""
    store.append(["room"], message())
    own.pexpire("django_sse:{sse.g.room}:head", 60_000)
    store.positions(["room", "unknown"])
    assert own.pttl("django_sse:{sse.g.room}:head") > DAY_MS
    assert not own.exists("django_sse:{sse.g.unknown}:head")


def test_log_is_bounded_without_a_trim(own_redis: str, own: Any) -> None:
    """A process that publishes and never trims fills no memory: Redis cuts by whole blocks."""
    store = RedisStore(own_redis, max_events=100)
    for _ in range(1000):
        store.append(["room"], message())
    assert 100 <= own.xlen("django_sse:{sse.g.room}:log") <= 250


def test_each_call_is_one_round_trip(store: RedisStore, own: Any) -> None:
    """For any number of groups."""
    groups = [f"g{number}" for number in range(50)]
    for work in (
        lambda: store.append(groups, message()),
        lambda: store.append(groups, message(), again=True),
        lambda: store.positions(groups, 3),
        lambda: store.read("g1", START, 10),
        lambda: store.trim("g1"),
    ):
        work()
        calls(own)
        work()
        assert calls(own) == {"evalsha": 1}


def test_script_that_the_server_has_forgotten_is_sent_again(store: RedisStore, own: Any) -> None:
    """After a restart, and on the first call ever."""
    store.append(["room"], message())
    own.script_flush()
    calls(own)
    store.append(["room"], message())
    assert calls(own) == {"evalsha": 1, "eval": 1}
    own.script_flush()
    asyncio.run(store.aappend(["room"], message()))
    assert [entry.number for entry in store.read("room", START, 10).entries] == [1, 2, 3]


def test_history_that_the_server_has_lost_begins_anew(store: RedisStore, own: Any) -> None:
    """Numbers begin at 1, and the marks tell a reader, even at the same number."""
    [lost] = store.append(["room"], message())
    own.flushall()
    assert store.read("room", lost.position, 10) == ([], START)
    [anew] = store.append(["room"], message())
    assert anew.follows(START)
    assert not store.read("room", lost.position, 10).continues(lost.position)


def test_server_that_has_lost_the_head_alone_begins_anew(store: RedisStore, own: Any) -> None:
    """A server that is full may drop one key of the two."""
    entries = [store.append(["room"], message())[0] for _ in range(5)]
    own.delete("django_sse:{sse.g.room}:head")
    assert store.read("room", entries[1].position, 10) == ([], START)
    [anew] = store.append(["room"], message())
    assert anew.follows(START)
    assert store.read("room", START, 10).entries == [anew]


def test_server_that_has_lost_the_log_alone_goes_on(store: RedisStore, own: Any) -> None:
    """Readers at the head miss nothing; those behind it are told."""
    entries = [store.append(["room"], message())[0] for _ in range(5)]
    own.delete("django_sse:{sse.g.room}:log")
    assert store.read("room", entries[4].position, 10).continues(entries[4].position)
    [next_one] = store.append(["room"], message())
    assert next_one.follows(entries[4].position)
    assert not store.read("room", entries[1].position, 10).continues(entries[1].position)


@pytest.mark.parametrize("form", ["sync", "async"])
@pytest.mark.parametrize("extra", ["", "?retry_on_timeout=yes"])
def test_append_is_tried_once(own_redis: str, own: Any, form: str, extra: str) -> None:
    """What may have been done is repeated by the caller alone, who then finds it."""
    store = RedisStore(own_redis + extra)
    impatient = RedisStore(own_redis + extra, timeout_seconds=0.2)
    store.append(["room"], message())
    sent = message("x")

    def append(store: RedisStore, **kwargs: bool) -> Any:
        if form == "sync":
            return store.append(["room"], sent, **kwargs)
        return asyncio.run(store.aappend(["room"], sent, **kwargs))

    calls(own)
    own.execute_command("CLIENT PAUSE", 600_000, "WRITE")
    with pytest.raises((redis_py.TimeoutError, TimeoutError)):
        append(impatient)
    own.execute_command("CLIENT UNPAUSE")
    [entry] = append(store, again=True)
    assert entry.number == 2
    assert store.positions(["room"])["room"] == entry.position
    assert calls(own)["evalsha"] <= 3


@pytest.mark.parametrize("protocol", [2, 3])
def test_both_protocols_give_the_same(own_redis: str, protocol: int) -> None:
    """RESP2 and RESP3, by either form."""
    store = RedisStore(f"{own_redis}?protocol={protocol}")
    entries = store.append(["a", "b"], message())
    entries += asyncio.run(store.aappend(["a"], message()))
    assert store.read("a", START, 10).entries == [entries[0], entries[2]]
    assert asyncio.run(store.aread("b", START, 10)).entries == [entries[1]]
    assert store.positions(["a"], 1) == asyncio.run(store.apositions(["a"], 1))


def test_connections_are_bounded_and_end_with_their_loop(store: RedisStore, own: Any) -> None:
    """More calls than connections wait for their turn; a loop that ends leaves none."""

    async def work() -> int:
        await asyncio.gather(*(store.aread("room", START, 1) for _ in range(400)))
        return len(own.client_list())

    before = len(own.client_list())
    assert 1 < asyncio.run(work()) - before <= 50
    [clients] = store._clients
    assert clients._of_loops == {}
    store.positions(["room"])
    # But for that of the sync call before this line.
    assert len(own.client_list()) <= before + 1


def test_connections_of_threads_are_bounded(own_redis: str, own: Any) -> None:
    """A URL may ask for fewer than there would be."""
    store = RedisStore(f"{own_redis}?max_connections=3")
    before = len(own.client_list())
    threads = [
        threading.Thread(target=store.append, args=(["room"], message())) for _ in range(60)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.positions(["room"])["room"].number == 60
    assert len(own.client_list()) - before <= 3


def test_async_forms_use_no_thread(store: RedisStore) -> None:
    """They wait on the loop."""

    async def work() -> None:
        await asyncio.gather(*(store.aappend(["a"], message()) for _ in range(20)))
        await store.aread("a", START, 1)
        await store.apositions(["a"])
        await store.atrim("a")
        assert threading.active_count() == before

    before = threading.active_count()
    asyncio.run(work())


def test_parents_connections_stay_with_the_parent(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forked child keeps them unused: to close them would end them in the parent's loop."""
    store.append(["room"], message())
    [clients] = store._clients
    [(pid, parents)] = clients._of_processes.items()
    monkeypatch.setattr(processes, "_pid", pid + 1)
    store.append(["room"], message())
    assert clients._of_processes[pid] is parents
    assert clients._of_processes[pid + 1][0] is not parents[0]


async def append_at_once(
    store: BaseStore, *appends: tuple[list[str], dict[str, Any]], **kwargs: Any
) -> list[Any]:
    """Return what the calls return or raise, which are made in one tick."""
    calls = (store.aappend(groups, sent, **kwargs) for groups, sent in appends)
    return await asyncio.gather(*calls, return_exceptions=True)


def test_appends_of_one_tick_share_a_call(store: RedisStore, own: Any) -> None:
    """Each event has its own groups, message and entries; the call is bounded."""
    store.append(["a"], message())  # The server has the script.
    calls(own)
    appends = [([f"a{number}", f"b{number}"], message(str(number))) for number in range(50)]
    found = asyncio.run(append_at_once(store, *appends))
    assert calls(own) == {"evalsha": 1}
    for (groups, sent), entries in zip(appends, found, strict=True):
        assert [(entry.group, entry.number, entry.message) for entry in entries] == [
            (group, 1, sent) for group in groups
        ]
        for group, entry in zip(groups, entries, strict=True):
            assert store.read(group, START, 10).entries == [entry]

    calls(own)
    asyncio.run(append_at_once(store, *((["c"], message()) for _ in range(1000))))
    assert calls(own) == {"evalsha": 10}
    asyncio.run(append_at_once(store, *((["c"], message("x" * 30_000)) for _ in range(10))))
    assert calls(own) == {"evalsha": 5}
    asyncio.run(append_at_once(store, *(([f"d{n}" for n in range(60)], message()),) * 3))
    assert calls(own) == {"evalsha": 3}


def test_appends_of_one_tick_keep_their_order(store: RedisStore) -> None:
    """Also where they need several calls."""
    found = asyncio.run(append_at_once(store, *((["a"], message(str(n))) for n in range(250))))
    assert [entries[0].number for entries in found] == list(range(1, 251))
    assert [entries[0].message["data"] for entries in found] == [str(n) for n in range(250)]
    read = store.read("a", START, 1000).entries
    assert read == [entry for [entry] in found]


def test_append_that_fails_takes_no_other_along(store: RedisStore, own: Any) -> None:
    """Those that share its call are added, before and behind it; it raises what it always did."""
    [head, _] = store._keys(["bad"])
    own.set(head, "no hash")
    with pytest.raises(redis_py.ResponseError, match=r"^WRONGTYPE") as alone:
        store.append(["bad"], message())
    appends = [([name], message()) for name in ("a", "bad", "b", "bad", "c")]
    found = asyncio.run(append_at_once(store, *appends))
    for index in (1, 3):
        assert type(found[index]) is alone.type
        assert str(found[index]) == str(alone.value)
    assert [found[index][0].number for index in (0, 2, 4)] == [1, 1, 1]


def test_attempts_again_share_a_call_with_others(store: RedisStore, own: Any) -> None:
    """What is there already is found; its neighbours are added."""
    sent = message("é\n\u2028/\\")
    [first] = store.append(["a"], sent)
    store.append(["a"], message())
    calls(own)

    async def append_all() -> list[Any]:
        return [
            *await asyncio.gather(
                store.aappend(["a"], message()),
                store.aappend(["a", "b"], sent, again=True),
                store.aappend(["b"], message()),
            )
        ]

    [third], [found, added], [second] = asyncio.run(append_all())
    assert calls(own) == {"evalsha": 1}
    assert found == first
    assert (third.number, added.number, second.number) == (3, 1, 2)


def test_append_that_is_cancelled_takes_no_other_along(store: RedisStore, own: Any) -> None:
    """Before the call it is not made; during it, its neighbours get their answers."""

    async def work() -> None:
        early, late, kept = (
            asyncio.ensure_future(store.aappend([name], message())) for name in "abc"
        )
        await asyncio.sleep(0)
        early.cancel()
        await asyncio.wait({early})
        late.cancel()
        assert (await kept)[0].number == 1
        assert early.cancelled()
        assert late.cancelled()

    asyncio.run(work())
    assert store.positions(["a"])["a"] == START


def test_appends_of_loops_of_a_fork_are_apart(store: RedisStore) -> None:
    """A child that is forked while a call is under way makes its own."""

    async def work() -> int:
        appends = [asyncio.ensure_future(store.aappend(["a"], message())) for _ in range(5)]
        while not store._appends[0]._coalescer._begun:  # noqa: ASYNC110
            await asyncio.sleep(0)
        pid = os.fork()
        if not pid:
            code = 1
            try:
                asyncio.events._set_running_loop(None)
                asyncio.run(store.aappend(["child"], message()))
                code = 0
            finally:
                os._exit(code)
        await asyncio.gather(*appends)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert asyncio.run(work()) == 0
    positions = store.positions(["a", "child"])
    assert [positions[name].number for name in ("a", "child")] == [5, 1]


def test_server_that_is_away_fails_its_own_part_of_what_is_appended_at_once(
    request: pytest.FixtureRequest,
) -> None:
    """Of several servers: whole events fail, or parts, or nothing, as each event's groups are."""
    options = store_options("redis-hosts", request)
    options["hosts"] = [*options["hosts"][:2], f"redis://127.0.0.1:{free_port()}"]
    store = RedisStore(**options)
    by_shard = {store._shard(f"g{number}"): f"g{number}" for number in range(20)}
    first, second, away = (by_shard[shard] for shard in range(3))
    appends = [[first], [away], [first, away], [second, first], [second], [away, second]]
    found = asyncio.run(append_at_once(store, *((groups, message()) for groups in appends)))
    assert [entry.number for entry in found[0]] == [1]
    assert isinstance(found[1], redis_py.ConnectionError)
    assert isinstance(found[2], PartlyAppended)
    assert ([entry.number for entry in found[2].entries], found[2].groups) == ([2], [away])
    assert [entry.number for entry in found[3]] == [1, 3]
    assert [entry.number for entry in found[4]] == [2]
    assert isinstance(found[5], PartlyAppended)
    assert ([entry.number for entry in found[5].entries], found[5].groups) == ([3], [away])


def test_groups_are_spread_over_the_hosts(request: pytest.FixtureRequest) -> None:
    """The same way in every process."""
    store = RedisStore(**store_options("redis-hosts", request))
    groups = [f"order.{number}" for number in range(10)]
    assert [store._shard(group) for group in groups] == [0, 2, 1, 0, 0, 0, 0, 2, 0, 1]
    assert [entry.number for entry in store.append(groups, message())] == [1] * 10
    entries = asyncio.run(store.aappend(groups, message()))
    assert [(entry.group, entry.number) for entry in entries] == [(name, 2) for name in groups]


def test_cluster_answers_for_each_group_by_itself(request: pytest.FixtureRequest) -> None:
    """One call names groups of many slots."""
    kind = Kind("redis-cluster", request)
    store = kind.make()
    groups = [f"g{number}" for number in range(40)]
    assert [entry.number for entry in store.append(groups, message())] == [1] * 40
    entries = asyncio.run(store.aappend(groups, message()))
    assert [(entry.group, entry.number) for entry in entries] == [(name, 2) for name in groups]
    found = asyncio.run(append_at_once(store, *(([name], message()) for name in groups * 3)))
    assert [entries[0].number for entries in found] == [3] * 40 + [4] * 40 + [5] * 40


def test_cluster_takes_several_nodes(
    request: pytest.FixtureRequest, redis_cluster: Cluster
) -> None:
    """The others are asked if the first is down."""
    options = store_options("redis-cluster", request)
    del options["url"]
    dead, first, second = free_port(), *redis_cluster.nodes[:2]
    hosts = [("127.0.0.1", dead), ("127.0.0.1", first.port), {"address": second.url}]
    for nodes in (hosts, hosts[::-1], [f"redis://127.0.0.1:{dead}", *hosts[1:]]):
        store = RedisStore(hosts=nodes, **options)
        store.append(["room"], message())
        asyncio.run(store.aappend(["room"], message()))
    assert store.positions(["room"])["room"].number == 6


def test_call_goes_to_the_node_of_its_group(
    request: pytest.FixtureRequest, redis_cluster: Cluster
) -> None:
    """By the first calls of a process, however many at once; nobody is sent elsewhere."""
    options = store_options("redis-cluster", request)
    groups = [f"g{number}" for number in range(40)]
    RedisStore(**options).append(groups, message())  # All nodes have the script.
    for node in redis_cluster.nodes:
        node.call("CONFIG RESETSTAT")

    async def append_all() -> None:
        store = RedisStore(**options)
        await asyncio.gather(*(store.aappend([group], message()) for group in groups))

    asyncio.run(append_all())
    errors = [node.call("INFO", "errorstats") for node in redis_cluster.nodes]
    assert [found for found in errors if "errorstat_MOVED" in found] == []
    calls = [node.call("INFO", "commandstats") for node in redis_cluster.nodes]
    assert sum(found["cmdstat_evalsha"]["calls"] for found in calls) == len(groups)


@pytest.mark.parametrize("form", ["sync", "async"])
def test_group_whose_slot_is_on_its_way(
    request: pytest.FixtureRequest, redis_cluster: Cluster, form: str
) -> None:
    """Its keys are at the new node, which lets in who was sent there."""
    options = store_options("redis-cluster", request)
    store, group = RedisStore(**options), "moving"
    others = [f"g{number}" for number in range(40)]
    store.append([group, *others], message())
    source, slot = redis_cluster.owner(group), slot_of(group)
    target = next(node for node in redis_cluster.nodes if node is not source)
    keys = store._keys([group])
    there = [name for name in others if redis_cluster.owner(name) is target][:2]

    async def append_all() -> None:
        # Two connections to that node: there is a wrong one to choose.
        await asyncio.gather(*(store.aappend([name], message()) for name in there))
        for _ in range(3):
            await store.aappend([group], message())

    target.call("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
    source.call("CLUSTER SETSLOT", slot, "MIGRATING", target.id)
    source.call("MIGRATE", "127.0.0.1", target.port, "", 0, 10_000, "KEYS", *keys)
    try:
        if form == "async":
            asyncio.run(append_all())
        else:
            for _ in range(3):
                store.append([group], message())
        assert store.positions([group])[group].number == 4
    finally:
        with redis_py.Redis(port=target.port, single_connection_client=True) as client:
            for key in keys:
                client.execute_command("ASKING")
                client.delete(key)
        for node in (source, target):
            node.call("CLUSTER SETSLOT", slot, "STABLE")


def _append(store: RedisStore, groups: list[str], form: str) -> None:
    if form == "sync":
        store.append(groups, message())
    else:
        asyncio.run(store.aappend(groups, message()))


@pytest.mark.parametrize("form", ["sync", "async"])
def test_node_of_a_cluster_without_the_option_is_told_of(
    redis_cluster: Cluster, form: str
) -> None:
    """The error names the server, the option, and what to do."""
    store = RedisStore(redis_cluster.nodes[0].url)
    groups = [f"g{number}" for number in range(40)]
    with pytest.raises(
        ImproperlyConfigured, match=r"is a node of a Redis Cluster .* True"
    ) as info:
        _append(store, groups, form)
    assert f"127.0.0.1:{redis_cluster.nodes[0].port}" in str(info.value)


@pytest.mark.parametrize("form", ["sync", "async"])
def test_option_of_a_cluster_without_one_is_told_of(own_redis: str, form: str) -> None:
    """The error names the server, the option, and what to do."""
    store = RedisStore(own_redis, cluster=True)
    with pytest.raises(ImproperlyConfigured, match="is no node of a Redis") as info:
        _append(store, ["room"], form)
    assert own_redis.removeprefix("redis://") in str(info.value)


def test_append_that_fails_on_one_host_is_told(own_redis: str) -> None:
    """For whom, and from what; the others are done, and a second attempt finds them."""
    store = RedisStore(hosts=["redis://127.0.0.1:1", own_redis], timeout_seconds=1)
    names = [next(f"g{n}" for n in range(50) if store._shard(f"g{n}") == s) for s in (0, 1)]
    dead, groups = (
        names[0],
        [*names, next(f"h{n}" for n in range(50) if not store._shard(f"h{n}"))],
    )
    sent = message()
    for call in (
        lambda: store.append(groups, sent),
        lambda: asyncio.run(store.aappend(groups, sent, again=True)),
    ):
        with pytest.raises(PartlyAppended, match=f"Not added to '{dead}'") as info:
            call()
        assert [entry.group for entry in info.value.entries] == names[1:]
        assert list(info.value.groups) == [dead, groups[2]]
        assert isinstance(info.value.__cause__, redis_py.ConnectionError)
    assert store.positions(names[1:])[names[1]].number == 1
    with pytest.raises(redis_py.ConnectionError):
        asyncio.run(store.apositions(groups))
    with pytest.raises(redis_py.ConnectionError):
        store.append([dead], sent)


def test_server_of_a_group(request: pytest.FixtureRequest, redis_cluster: Cluster) -> None:
    """One of the hosts, or the node that has its slot; nobody knows before the first call."""
    hosts = RedisStore(**store_options("redis-hosts", request))
    assert {hosts.server_of(f"order.{number}") for number in range(10)} == {0, 1, 2}
    for form in ("sync", "async"):
        cluster = RedisStore(**store_options("redis-cluster", request))
        groups = ["a", "b", "c"]
        assert [cluster.server_of(group) for group in groups] == [None] * 3
        with asyncio.Runner() as runner:
            if form == "sync":
                cluster.append(groups, message())
            else:
                runner.run(cluster.aappend(groups, message()))
            owners = [f"127.0.0.1:{redis_cluster.owner(group).port}" for group in groups]
            assert [cluster.server_of(group) for group in groups] == owners
            assert len(set(owners)) == 3


def test_loop_that_is_closed_while_it_runs_raises_as_ever(store: RedisStore) -> None:
    """The store changes nothing about it, and the loop can be used on."""

    async def work() -> None:
        await store.aappend(["room"], message())
        with pytest.raises(RuntimeError, match="running"):
            asyncio.get_running_loop().close()
        await store.aappend(["room"], message())

    asyncio.run(work())
    assert store._clients[0]._of_loops == {}
    assert store.positions(["room"])["room"].number == 2
