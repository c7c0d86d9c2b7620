"""A clock by interval, with cleanup on close: one sample a second for each open page."""

import asyncio

from django.shortcuts import render

from demo_project.metrics.sampling import Sampler
from django_sse import ServerSentEvent, event_stream

INTERVAL_SECONDS = 1.0
watchers: set[Sampler] = set()


def page(request):
    return render(request, "metrics/page.html")


@event_stream
async def samples(request):
    sampler = Sampler()
    watchers.add(sampler)
    try:
        await asyncio.sleep(INTERVAL_SECONDS / 4)  # A rate needs two readings.
        while True:
            sample = {**sampler.take(), "watchers": len(watchers)}
            yield ServerSentEvent(sample, event="sample")
            await asyncio.sleep(INTERVAL_SECONDS)
    finally:
        # The page was closed, the network failed, or the server ends: it is always run.
        watchers.discard(sampler)
