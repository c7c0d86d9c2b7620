"""Which process this is."""

import os

__all__ = ["pid"]

_pid = os.getpid()


def pid() -> int:
    """Return the id of this process: what ``os.getpid()`` does, without asking the system."""
    return _pid


def _note_fork() -> None:
    global _pid
    _pid = os.getpid()


os.register_at_fork(after_in_child=_note_fork)
