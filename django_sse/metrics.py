"""What this process has done, in numbers."""

import dataclasses

__all__ = ["Metrics", "metrics"]


@dataclasses.dataclass(slots=True)
class Metrics:
    """Counts since the process began; ``streams_open`` goes down again."""

    streams_open: int = 0
    streams_opened: int = 0
    streams_refused: int = 0
    stream_errors: int = 0
    events_sent: int = 0
    bytes_sent: int = 0
    events_received: int = 0
    events_published: int = 0
    events_dropped: int = 0
    publish_errors: int = 0
    queue_drops: int = 0
    layer_errors: int = 0
    store_errors: int = 0
    events_healed: int = 0
    resets_sent: int = 0
    registry_errors: int = 0


#: The one of this process. Each count is changed on one thread at a time, or may be off by a few.
metrics = Metrics()
