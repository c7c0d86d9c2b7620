"""Streams in Django's own test cases."""

import functools
from typing import Any

from asgiref.sync import iscoroutinefunction

from django_sse.testing.client import StreamClient
from django_sse.testing.resetting import areset, reset

__all__ = ["StreamTestMixin"]


class StreamTestMixin:
    """
    Gives each test of a Django test case a StreamClient, and a process that has forgotten.

    It stands first: ``class OrderTests(StreamTestMixin, TestCase)``. What is left open is ended
    on the test's event loop, after the test and before ``tearDown()``.

    Attributes:
        sse_client: The client, from before ``setUp()``.
    """

    sse_client: StreamClient

    def __call__(self, result: Any = None) -> None:
        """Run the test; see unittest.TestCase."""
        reset()
        self.sse_client = StreamClient()
        name: str = self._testMethodName  # type: ignore[attr-defined]
        test = getattr(self, name)
        if iscoroutinefunction(test):
            setattr(self, name, self._cleaned_up(test))
        try:
            super().__call__(result)  # type: ignore[misc]
        finally:
            self.__dict__.pop(name, None)
            reset()

    def _cleaned_up(self, test: Any) -> Any:
        @functools.wraps(test)
        async def run() -> None:
            try:
                async with self.sse_client:
                    await test()
            finally:
                await areset()

        return run
