"""What the workers have done in the last hour, for charts."""

import datetime
import json
from collections.abc import Mapping

from django_sse.models import DatabaseNow, Sample
from django_sse.registry.bulk import delete, insert
from django_sse.stores.database_calls import DatabaseCalls

__all__ = ["KEPT_SECONDS", "forget_samples", "write_sample"]

#: For how long a sample is kept.
KEPT_SECONDS = 3600


def write_sample(calls: DatabaseCalls, worker_id: str, figures: Mapping[str, float]) -> None:
    """Write what a worker has done since its last sample."""
    row = Sample(
        worker_id=worker_id, taken_at=DatabaseNow(), figures_json=json.dumps(dict(figures))
    )
    calls.write(lambda again: insert(calls.alias, row))


def forget_samples(calls: DatabaseCalls) -> None:
    """Delete the samples that are too old: of every worker, for those that have ended do not."""
    kept = datetime.timedelta(seconds=KEPT_SECONDS)
    old = Sample.objects.using(calls.alias).filter(taken_at__lt=DatabaseNow() - kept)
    calls.write(lambda again: delete(old))
