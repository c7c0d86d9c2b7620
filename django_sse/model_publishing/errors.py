"""Errors of a project's code that must not look like failures of its saves."""

import contextlib
import logging
from collections.abc import Iterator

from django_sse.metrics import metrics

__all__ = ["errors_logged"]

logger = logging.getLogger("django.sse")


@contextlib.contextmanager
def errors_logged(doing: str, *args: object) -> Iterator[None]:
    """Log and count an error in this block: ``"Publishing %r failed."``, say."""
    try:
        yield
    except Exception:
        metrics.publish_errors += 1
        logger.exception(doing, *args)
