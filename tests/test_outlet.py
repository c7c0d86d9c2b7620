"""The way of bytes to one client: straight, or queued while the server's send waits."""

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable
from typing import Any

import pytest

from django_sse.driver import Driver
from django_sse.envelope import unpack
from django_sse.outlet import Outlet
from django_sse.runs import Item
from django_sse.types import Message
from tests.clients import TIMEOUT


class Client:
    """An ASGI server's send, with a client behind it that may stop reading, or go."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.is_stalled = False
        self.error: BaseException | None = None
        self.cancelled = 0
        self._wrote = asyncio.Event()

    async def send(self, message: Message) -> None:
        if self.error is not None:
            raise self.error
        if self.is_stalled:
            gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiting.append(gate)
            try:
                await gate
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        assert message["type"] == "http.response.body"
        self.messages.append(message)
        self._wrote.set()

    def stall(self) -> None:
        self.is_stalled = True

    def read_on(self) -> None:
        """Read what waits, and all that comes."""
        self.is_stalled = False
        self.read_one()

    def read_one(self) -> None:
        """Read what waits now; the next send waits again."""
        for gate in self.waiting:
            if not gate.done():
                gate.set_result(None)
        self.waiting.clear()

    async def next(self, count: int) -> list[bytes]:
        """Wait until *count* messages have come; return their bodies."""
        async with asyncio.timeout(TIMEOUT):
            while len(self.messages) < count:
                self._wrote.clear()
                await self._wrote.wait()
        return self.bodies

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.messages]

    @property
    def is_ended(self) -> bool:
        return bool(self.messages) and not self.messages[-1]["more_body"]


class Recorder(Outlet):
    """Writes down what happens at each turn; what is called ends the response, if told to."""

    def __init__(self, queue_max_bytes: int = 100, *, aborts: bool = True) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(Driver(loop, contextvars.Context()), queue_max_bytes)
        self.turns: list[Any] = []
        self.aborts = aborts
        self.turned = asyncio.Event()

    def on_send_error(self, error: BaseException) -> None:
        self._note(error)
        if self.aborts:
            self.abort()

    def on_overflow(self, count: int) -> None:
        self._note(count)
        if self.aborts:
            self.abort()

    def on_finished(self) -> None:
        self._note("finished")

    def _note(self, turn: Any) -> None:
        self.turns.append(turn)
        self.turned.set()

    def put(self, *frames: bytes) -> None:
        for frame in frames:
            self._driver.run(lambda frame=frame: self.write(frame))  # type: ignore[misc]

    async def finished(self) -> None:
        async with asyncio.timeout(TIMEOUT):
            while "finished" not in self.turns:
                self.turned.clear()
                await self.turned.wait()


def item(data: str, key: str | None = None, group: str = "g", id_line: bytes = b"") -> Item:
    keys = {} if key is None else {"key": key}
    return Item(unpack({"group": group, "data": data, **keys}), id_line)


def opened(client: Client, **options: Any) -> Recorder:
    """Return an outlet that has written ``first`` to *client*."""
    outlet = Recorder(**options)
    outlet.attach(client.send, b"first")
    return outlet


async def stalled(client: Client, **options: Any) -> Recorder:
    """Return an outlet whose write of ``a`` waits for *client*."""
    outlet = opened(client, **options)
    client.stall()
    outlet.put(b"a")
    await asyncio.sleep(0)
    assert len(client.waiting) == 1
    return outlet


async def test_attach_writes_what_was_queued_before() -> None:
    """The first bytes and all that came before the response began are one message."""
    client, outlet = Client(), Recorder()
    outlet.put(b"a", b"b")
    assert client.bodies == []
    outlet.attach(client.send, b"first")
    assert client.messages == [
        {"type": "http.response.body", "body": b"firstab", "more_body": True}
    ]
    assert outlet.bytes_sent == 7
    assert outlet.turns == []


async def test_write_goes_straight_to_the_client() -> None:
    """While the client reads, each write is a message, made before write() returns."""
    client = Client()
    outlet = opened(client)
    outlet.put(b"a", b"b")
    assert client.bodies == [b"first", b"a", b"b"]
    assert outlet.bytes_sent == 7
    assert not client.is_ended


async def test_write_queues_while_a_send_waits() -> None:
    """What has come meanwhile goes as one message, in order, and then it is straight again."""
    client = Client()
    outlet = await stalled(client)
    outlet.put(b"b", b"c")
    assert client.bodies == [b"first"]
    client.read_on()
    assert await client.next(3) == [b"first", b"a", b"bc"]
    await outlet.drained()
    outlet.put(b"d")
    assert client.bodies[3:] == [b"d"]
    assert outlet.bytes_sent == len(b"firstabcd")


async def test_write_queues_while_the_queue_is_sent() -> None:
    """The send of what was queued may wait too: the order holds over any number of waits."""
    client = Client()
    outlet = await stalled(client)
    for number in range(3):
        outlet.put(b"b%d" % number, b"c%d" % number)
        client.read_one()
        await client.next(2 + number)
        await asyncio.sleep(0)
        assert len(client.waiting) == 1
    client.read_on()
    assert (await client.next(5))[1:] == [b"a", b"b0c0", b"b1c1", b"b2c2"]
    await outlet.drained()
    assert outlet.turns == []


async def test_attach_whose_first_send_waits() -> None:
    """A client that is slow from the first byte on gets everything in order too."""
    client, outlet = Client(), Recorder()
    client.stall()
    outlet.put(b"a")
    outlet.attach(client.send, b"first")
    outlet.put(b"b")
    await asyncio.sleep(0)
    client.read_on()
    assert await client.next(2) == [b"firsta", b"b"]


async def test_write_each_keeps_the_newest_of_a_key_at_the_end() -> None:
    """It stands where it came, behind what it may refer to; other keys and groups stay."""
    client = Client()
    outlet = await stalled(client)
    outlet.write_each([item("1", "x"), item("2"), item("3", "y")])
    outlet.write_each([item("4", "x"), item("5", "x", group="h"), item("6")])
    client.read_on()
    assert (await client.next(3))[2] == b"".join(
        b"data: %d\n\n" % number for number in (2, 3, 4, 5, 6)
    )


async def test_write_each_does_not_replace_what_is_on_its_way() -> None:
    """Only what is unsent can be replaced."""
    client = Client()
    outlet = await stalled(client)
    outlet.write_each([item("1", "x")])
    client.read_one()
    await client.next(2)
    await asyncio.sleep(0)
    outlet.write_each([item("2", "x")])
    client.read_on()
    assert (await client.next(4))[2:] == [b"data: 1\n\n", b"data: 2\n\n"]


async def test_write_each_counts_only_what_is_left_of_a_key() -> None:
    """A thousand values of one key never overflow: one of them waits."""
    client = Client()
    frame = b"data: 000\n\n"
    outlet = await stalled(client, queue_max_bytes=len(frame))
    for number in range(1000):
        outlet.write_each([item(f"{number:03}", "x")])
    assert outlet.turns == []
    client.read_on()
    assert (await client.next(3))[2] == b"data: 999\n\n"


@pytest.mark.parametrize("by", ["write", "write_each"])
async def test_overflow_comes_beyond_the_bound(by: str) -> None:
    """So many bytes may wait, and no more; what is on its way does not count."""
    client = Client()
    outlet = await stalled(client, queue_max_bytes=22)

    def put(number: int) -> None:
        if by == "write":
            outlet.put(b"data: %03d\n\n" % number)
        else:
            outlet.write_each([item(f"{number:03}")])

    put(1)
    put(2)
    assert outlet.turns == []
    put(3)
    assert outlet.turns == [3, "finished"]
    put(4)
    assert outlet.turns == [3, "finished"]


async def test_overflow_counts_from_nothing_after_a_send() -> None:
    """What was sent makes room again."""
    client = Client()
    outlet = await stalled(client, queue_max_bytes=5)
    for _ in range(3):
        outlet.put(b"12345")
        client.read_one()
        await client.next(len(client.messages) + 1)
        await asyncio.sleep(0)
    assert outlet.turns == []
    outlet.put(b"12345", b"6")
    assert outlet.turns == [2, "finished"]


async def test_overflow_before_the_response_begins() -> None:
    """A stream that nobody serves yet is bounded too."""
    outlet = Recorder(queue_max_bytes=5)
    outlet.put(b"123456")
    assert outlet.turns == []  # One alone: no client has been slow yet.
    outlet.put(b"7")
    assert outlet.turns == [2, "finished"]


async def test_write_each_stops_at_an_overflow() -> None:
    """What comes behind it is not queued, and not told of again."""
    client = Client()
    outlet = await stalled(client, queue_max_bytes=5)
    outlet.write_each([item("1"), item("2"), item("3")])
    assert outlet.turns == [2, "finished"]


async def test_overflow_that_is_let_pass() -> None:
    """It is told of each time, and nothing is lost by itself."""
    client = Client()
    outlet = await stalled(client, queue_max_bytes=2, aborts=False)
    outlet.put(b"bcd", b"e", b"f")
    assert outlet.turns == [2, 3]
    client.read_on()
    assert (await client.next(3))[2] == b"bcdef"


async def test_has_room_until_the_bound() -> None:
    """An idle outlet takes anything; one whose send waits what fits beside that and its queue."""
    assert opened(Client()).has_room(10**9)
    outlet = await stalled(Client(), queue_max_bytes=100)
    room = 100 - outlet._in_flight
    assert 60 < room < 100
    assert outlet.has_room(room)
    assert not outlet.has_room(room + 1)
    outlet.put(b"x" * 60)
    assert outlet.has_room(room - 60)
    assert not outlet.has_room(room - 59)


async def test_write_each_of_an_idle_outlet_queues_nothing() -> None:
    """There is no queue then: it is for the caller to write."""
    client = Client()
    outlet = opened(client)
    outlet.write_each([item("1")])
    assert client.bodies == [b"first"]


async def test_close_response_of_an_idle_outlet() -> None:
    """The last bytes end the response at once."""
    client = Client()
    outlet = opened(client)
    outlet.close_response(b"last")
    assert client.messages[1:] == [
        {"type": "http.response.body", "body": b"last", "more_body": False}
    ]
    assert outlet.turns == ["finished"]
    assert outlet.is_finished
    assert outlet.bytes_sent == len(b"firstlast")


async def test_close_response_whose_send_waits() -> None:
    """It has finished when the client has read the end."""
    client = Client()
    outlet = opened(client)
    client.stall()
    outlet.close_response(b"last")
    await asyncio.sleep(0)
    assert outlet.turns == []
    client.read_on()
    await outlet.finished()
    assert client.bodies == [b"first", b"last"]
    assert client.is_ended
    assert outlet.turns == ["finished"]


@pytest.mark.parametrize("last", [b"last", b""])
async def test_close_response_while_a_send_waits(last: bytes) -> None:
    """What is queued goes first, and the end with it, in one message."""
    client = Client()
    outlet = await stalled(client)
    outlet.put(b"b")
    outlet.close_response(last)
    outlet.put(b"too late")
    outlet.write_each([item("too late")])
    assert outlet.turns == []
    client.read_on()
    await outlet.finished()
    assert client.bodies == [b"first", b"a", b"b" + last]
    assert [message["more_body"] for message in client.messages] == [True, True, False]
    assert outlet.turns == ["finished"]


async def test_close_response_while_the_queue_is_sent() -> None:
    """The end comes behind what is on its way."""
    client = Client()
    outlet = await stalled(client)
    outlet.put(b"b")
    client.read_one()
    await client.next(2)
    await asyncio.sleep(0)
    outlet.close_response(b"last")
    client.read_on()
    await outlet.finished()
    assert client.bodies == [b"first", b"a", b"b", b"last"]
    assert client.is_ended


async def test_close_response_before_the_response_begins() -> None:
    """A stream that ends before it is served is one message, which ends it."""
    client, outlet = Client(), Recorder()
    outlet.put(b"a")
    outlet.close_response(b"last")
    assert outlet.turns == []
    outlet.attach(client.send, b"first")
    assert client.messages == [
        {"type": "http.response.body", "body": b"firstalast", "more_body": False}
    ]
    assert outlet.turns == ["finished"]


async def test_close_response_twice_is_once() -> None:
    """The first end holds."""
    client = Client()
    outlet = opened(client)
    outlet.close_response(b"last")
    outlet.close_response(b"more")
    outlet.put(b"more")
    assert client.bodies == [b"first", b"last"]
    assert outlet.turns == ["finished"]


async def test_abort_of_an_idle_outlet() -> None:
    """Nothing more is written, and it has finished."""
    client = Client()
    outlet = opened(client)
    outlet.abort()
    outlet.abort()
    outlet.put(b"a")
    outlet.close_response(b"last")
    assert client.bodies == [b"first"]
    assert outlet.turns == ["finished"]


async def test_abort_while_a_send_waits() -> None:
    """The send is cancelled where it waits, and the queue is dropped."""
    client = Client()
    outlet = await stalled(client)
    outlet.put(b"b")
    outlet.abort()
    assert outlet.turns == ["finished"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert client.cancelled == 1
    client.read_on()
    await asyncio.sleep(0)
    assert client.bodies == [b"first"]
    assert outlet.turns == ["finished"]


async def test_abort_in_the_moment_in_which_a_send_begins_to_wait() -> None:
    """The task that is to go on with it has not begun; the send is cancelled all the same."""
    client = Client()
    outlet = opened(client)
    client.stall()
    outlet.put(b"a")
    outlet.abort()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert client.cancelled == 1
    assert outlet.turns == ["finished"]


async def test_abort_before_the_response_begins() -> None:
    """It has finished; if the response begins after all, it ends at once."""
    client, outlet = Client(), Recorder()
    outlet.put(b"a")
    outlet.abort()
    assert outlet.turns == ["finished"]
    outlet.attach(client.send, b"first")
    assert client.messages == [
        {"type": "http.response.body", "body": b"first", "more_body": False}
    ]
    assert outlet.turns == ["finished"]


async def test_abort_after_the_end_was_queued() -> None:
    """A client that does not read the last bytes is given up."""
    client = Client()
    outlet = await stalled(client)
    outlet.close_response(b"last")
    outlet.abort()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert client.cancelled == 1
    assert outlet.turns == ["finished"]
    assert client.bodies == [b"first"]


async def test_is_aborted_tells_the_two_ends_apart() -> None:
    """A response that was ended has said so to its client; one that was aborted has not."""
    aborted, closed = opened(Client()), opened(Client())
    assert not aborted.is_aborted
    aborted.abort()
    closed.close_response(b"last")
    assert aborted.is_aborted
    assert not closed.is_aborted


async def test_drained_returns_at_once_when_nothing_waits() -> None:
    """An idle outlet is drained."""
    outlet = opened(Client())
    waiting = asyncio.ensure_future(outlet.drained())
    await asyncio.sleep(0)
    assert waiting.done()


async def test_drained_waits_for_the_client() -> None:
    """Everyone who waits goes on when all that was queued has been read."""
    client = Client()
    outlet = await stalled(client)
    waiting = [asyncio.ensure_future(outlet.drained()) for _ in range(3)]
    await asyncio.sleep(0)
    outlet.put(b"b")
    client.read_one()
    await client.next(2)
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    client.read_on()
    await asyncio.wait_for(asyncio.gather(*waiting), TIMEOUT)
    assert client.bodies == [b"first", b"a", b"b"]


async def test_drained_that_is_cancelled_leaves_the_others_waiting() -> None:
    """One task that gives up does not wake the rest."""
    client = Client()
    outlet = await stalled(client)
    one, other = (asyncio.ensure_future(outlet.drained()) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await one
    assert not other.done()
    client.read_on()
    await asyncio.wait_for(other, TIMEOUT)


async def test_drained_before_the_response_begins() -> None:
    """It waits for the response."""
    client, outlet = Client(), Recorder()
    outlet.put(b"a")
    waiting = asyncio.ensure_future(outlet.drained())
    await asyncio.sleep(0)
    assert not waiting.done()
    outlet.attach(client.send, b"")
    await asyncio.wait_for(waiting, TIMEOUT)


@pytest.mark.parametrize("by", ["abort", "close_response"])
async def test_drained_returns_when_the_response_ends(by: str) -> None:
    """Whoever waits is let go: at once when it is given up, else when the end was read."""
    client = Client()
    outlet = await stalled(client)
    waiting = asyncio.ensure_future(outlet.drained())
    await asyncio.sleep(0)
    if by == "abort":
        outlet.abort()
    else:
        outlet.close_response(b"last")
        client.read_on()
    await asyncio.wait_for(waiting, TIMEOUT)
    await asyncio.wait_for(outlet.drained(), TIMEOUT)


async def test_send_error_at_once() -> None:
    """It is told of by on_send_error(), and write() returns as ever."""
    client = Client()
    outlet = opened(client)
    client.error = BrokenPipeError("gone")
    outlet.put(b"a")
    assert outlet.turns == [client.error, "finished"]
    outlet.put(b"b")
    assert outlet.turns == [client.error, "finished"]


async def test_send_error_after_a_wait() -> None:
    """The task that goes on with the send tells of it."""
    client = Client()
    outlet = await stalled(client)
    error = BrokenPipeError("gone")
    client.waiting[0].set_exception(error)
    await outlet.finished()
    assert outlet.turns == [error, "finished"]


async def test_send_error_in_what_was_queued() -> None:
    """The next send, from the same task, may fail too."""
    client = Client()
    outlet = await stalled(client)
    outlet.put(b"b")
    client.error = BrokenPipeError("gone")
    client.read_one()
    await outlet.finished()
    assert outlet.turns == [client.error, "finished"]


async def test_send_error_in_the_first_send() -> None:
    """A client may be gone before the first byte."""
    client, outlet = Client(), Recorder()
    client.error = BrokenPipeError("gone")
    outlet.attach(client.send, b"first")
    assert outlet.turns == [client.error, "finished"]


async def test_send_error_in_the_last_send() -> None:
    """It has finished once, for one of the two reasons."""
    for aborts in (True, False):
        client = Client()
        outlet = opened(client, aborts=aborts)
        client.error = BrokenPipeError("gone")
        outlet.close_response(b"last")
        assert outlet.turns == [client.error, "finished"]


async def test_send_that_was_cancelled_by_its_server() -> None:
    """A future of the server's that is cancelled is an error: the stream must not hang on it."""
    client = Client()
    outlet = await stalled(client)
    client.waiting[0].cancel()
    await outlet.finished()
    error, finished = outlet.turns
    assert isinstance(error, asyncio.CancelledError)
    assert finished == "finished"


async def test_send_that_is_cancelled_at_once() -> None:
    """It does not reach the caller, who has other streams to write to."""
    client = Client()
    outlet = opened(client)
    client.error = asyncio.CancelledError()
    outlet.put(b"a")
    assert outlet.turns == [client.error, "finished"]


async def test_task_that_is_cancelled_from_outside_is_no_error_of_the_client() -> None:
    """A loop that goes down cancels its tasks; nothing is to be told then."""
    client = Client()
    outlet = await stalled(client)
    task = outlet._task
    assert task is not None
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert outlet.turns == []


async def test_write_to_many_goes_on_behind_one_that_waits() -> None:
    """In one run of the driver some wait, some fail, and the rest get their bytes."""
    driver = Driver(asyncio.get_running_loop(), contextvars.Context())
    clients = [Client() for _ in range(6)]
    outlets = []
    for client in clients:
        outlet = Recorder()
        outlet._driver = driver
        outlet.attach(client.send, b"")
        outlets.append(outlet)
    for client in clients[::3]:
        client.stall()
    for client in clients[1::3]:
        client.error = BrokenPipeError()

    def write() -> None:
        for outlet in outlets:
            outlet.write(b"a")

    driver.run(write)
    assert [client.bodies for client in clients[2::3]] == [[b"", b"a"]] * 2
    await asyncio.sleep(0)
    for client in clients[::3]:
        client.read_on()
    assert [await client.next(2) for client in clients[::3]] == [[b"", b"a"]] * 2
    driver.close()


async def test_outlet_leaves_what_happens_to_its_subclass() -> None:
    """By itself it cannot say what an end is."""
    outlet = Outlet(Driver(asyncio.get_running_loop(), contextvars.Context()), 1)
    with pytest.raises(NotImplementedError):
        outlet.on_send_error(OSError())
    with pytest.raises(NotImplementedError):
        outlet.on_overflow(1)
    with pytest.raises(NotImplementedError):
        outlet.on_finished()


async def test_send_may_be_any_awaitable() -> None:
    """ASGI promises no more; granian's are no coroutines."""

    class Done:
        def __await__(self) -> Any:
            return iter(())

    seen = []

    def send(message: Message) -> Awaitable[None]:
        seen.append(message["body"])
        return Done()

    outlet = Recorder()
    outlet.attach(send, b"first")
    outlet.put(b"a")
    assert seen == [b"first", b"a"]
