"""How long to wait after failures."""

import random

__all__ = ["backoff"]

_FIRST_SECONDS = 0.1
_MAX_SECONDS = 5.0


def backoff(failures: int) -> float:
    """Return the seconds to wait after so many *failures* in a row, spread."""
    return random.uniform(0.5, 1) * min(_FIRST_SECONDS * 2.0 ** min(failures, 10), _MAX_SECONDS)
