"""How many streams this machine lets one process have."""

import resource

__all__ = ["at_most"]

# Of the server's: what is no stream. While streams open, Django has a file of the database open
# for each request that it is answering.
_SPARE_FILES = 200


def at_most(streams: int) -> int:
    """
    Let this process, and those that it starts, have *streams* open. Return how many they can.

    That is less where the hard limit is lower: then it is said.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    possible = hard - _SPARE_FILES
    if hard == resource.RLIM_INFINITY or streams <= possible:
        return streams
    print(f"Of {streams:,} streams {possible:,}: a process may have {hard:,} files open here.")
    return possible
