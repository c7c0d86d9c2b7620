"""
What tests of stores run as processes of their own, on the histories of the test.

Call: ``python -m tests.stores.processes <kind> <options> publish|fork <argument>…``
"""

import asyncio
import json
import os
import sys
from typing import Any

import django

from django_sse.positions import START, new_mark
from django_sse.stores.base import BaseStore

__all__: list[str] = []


def make(kind: str, options: dict[str, Any]) -> BaseStore:
    if kind == "memory":
        from django_sse.stores.memory import MemoryStore

        return MemoryStore()
    if options:
        from django_sse.stores.redis import RedisStore

        return RedisStore(**options)
    from django_sse.stores.database import DatabaseStore

    return DatabaseStore()


def publish(store: BaseStore, name: str, count: str, *groups: str) -> None:
    """Append *count* events to all *groups* at once, when a line comes in."""
    print("ready", flush=True)
    input()
    for number in range(int(count)):
        # In turns, so that two of these processes want the groups in different orders.
        order = groups if number % 2 else groups[::-1]
        store.append(order, {"mark": new_mark(), "from": name, "nth": number})


def fork(store: BaseStore, group: str) -> None:
    """
    Append by both forms before a fork, and after it in the parent and in the child.

    A store whose async forms use asgiref's threads is used by its sync ones before the fork: that
    of asgiref would be missing in the child.
    """
    runner = asyncio.Runner()

    def both(name: str) -> list[int]:
        message = {"mark": new_mark(), "from": name}
        [first] = store.append([group], message)
        message = {**message, "mark": new_mark()}
        if name == "before" and type(store).aappend is BaseStore.aappend:
            [second] = store.append([group], message)
        else:
            [second] = runner.run(store.aappend([group], message))
        return [first.number, second.number]

    both("before")
    pid = os.fork()
    if pid == 0:
        try:
            runner = asyncio.Runner()  # The parent's loop is the parent's.
            numbers = both("child")
            read = runner.run(store.aread(group, START, 100))
            assert [entry.number for entry in read.entries][-2:] == numbers
            assert store.positions([group])[group] == read.head
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    both("parent")
    runner.close()
    names = [entry.message["from"] for entry in store.read(group, START, 100).entries]
    print(json.dumps(names), flush=True)


if __name__ == "__main__":
    django.setup()
    kind, options, command, *arguments = sys.argv[1:]
    store = make(kind, json.loads(options))
    if command == "publish":
        publish(store, *arguments)
    else:
        fork(store, *arguments)
