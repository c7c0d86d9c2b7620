"""Errors of a project's code, and of ours, that must not look like failures of its saves."""

import logging
from types import TracebackType

from django_sse.metrics import metrics

__all__ = ["errors_logged"]

logger = logging.getLogger("django.sse")


class errors_logged:
    """Log and count an error in this block: ``"Publishing %r failed."``, say."""

    # Not contextlib's, which takes three times as long: each save() passes several.
    __slots__ = ("_args", "_doing")

    def __init__(self, doing: str, *args: object) -> None:
        self._doing, self._args = doing, args

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        metrics.publish_errors += 1
        doing = self._doing
        logger.error(doing, *self._args, exc_info=error)
        return True
