"""The package in Django's admin: what goes on, its streams and workers, and what is stored."""

from django_sse.admin.connections import ConnectionAdmin
from django_sse.admin.dashboard import DashboardAdmin
from django_sse.admin.stored_events import StoredEventAdmin
from django_sse.admin.workers import WorkerAdmin

__all__ = ["ConnectionAdmin", "DashboardAdmin", "StoredEventAdmin", "WorkerAdmin"]
