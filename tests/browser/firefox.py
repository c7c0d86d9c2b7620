"""Firefox, driven by npm's puppeteer-core: Playwright drives only a Firefox of its own."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.npm import require_modules
from tests.services import require_node, require_program

__all__ = ["Firefox", "firefox_tab"]

_FOLDER = Path(__file__).parent
#: How long it may take for anything; the first start of a Firefox is the slowest.
_TIMEOUT = 120.0


class Firefox:
    """One tab of a headless Firefox with a profile of its own."""

    def __init__(self, driver: asyncio.subprocess.Process) -> None:
        self._driver = driver

    async def goto(self, url: str) -> None:
        """Load a page."""
        await self._call("goto", url)

    async def evaluate(self, expression: str) -> Any:
        """Return what a JavaScript expression is in the page, as JSON; a promise's result."""
        return await self._call("evaluate", expression)

    async def _call(self, method: str, argument: str) -> Any:
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.write(f"{json.dumps([method, argument])}\n".encode())
        async with asyncio.timeout(_TIMEOUT):
            line = await self._driver.stdout.readline()
        assert line, "Firefox does not start; its driver's stderr says why."
        answer = json.loads(line)
        assert "error" not in answer, f"{method}({argument!r}): {answer['error']}"
        return answer["value"]


@contextlib.asynccontextmanager
async def firefox_tab() -> AsyncIterator[Firefox]:
    """Start a Firefox; it ends with the block. The test is skipped where there is none."""
    path = require_program(
        *filter(None, [os.environ.get("TEST_FIREFOX")]), "firefox-esr", "firefox"
    )
    command = [require_node(), "firefox.mjs", path]
    require_modules(_FOLDER)
    driver = await asyncio.create_subprocess_exec(
        *command,
        cwd=_FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=2**24,
    )
    assert driver.stdin is not None
    try:
        yield Firefox(driver)
    finally:
        driver.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TIMEOUT):
                await driver.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        await driver.wait()
