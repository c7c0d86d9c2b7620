"""What all workers do, put together: now, and in the last hour."""

from django_sse.overview.figures import Overview, make_overview, read_workers
from django_sse.overview.timeline import Timeline, read_spans

__all__ = ["Overview", "Timeline", "make_overview", "read_spans", "read_workers"]
