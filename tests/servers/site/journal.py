"""What the served project has done, for the test to read: also when the process is gone."""

import os
from pathlib import Path

__all__ = ["note"]


def note(*words: object) -> None:
    """Append one line to the file that ``SITE_JOURNAL`` names. It is written when this returns."""
    with Path(os.environ["SITE_JOURNAL"]).open("a") as journal:
        journal.write(" ".join(map(str, words)) + "\n")
