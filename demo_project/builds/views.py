"""The builds, and a build's status: one URL for curl and for browsers."""

from django.shortcuts import redirect
from django.views.generic import DetailView, ListView

from demo_project.builds.models import TARGETS, Build
from demo_project.builds.runner import start
from django_sse import ServerSentEvent, event_stream, subscribe


class Page(ListView):
    queryset = Build.objects.order_by("-pk").defer("log")[:12]
    template_name = "builds/page.html"

    def post(self, request):
        """Start a build, unless one is running."""
        target = request.POST.get("target")
        build = start(target if target in TARGETS else TARGETS[0])
        return redirect("builds:build", build.pk)


class BuildPage(DetailView):
    model = Build
    template_name = "builds/build.html"


@event_stream(groups="builds")
async def overview(request, stream):
    """How far each build is: what the group brings is all there is to say."""


@event_stream(progressive=True)
async def status(request, build: Build):
    """A plain client is answered with the first value; a browser is told the rest too."""
    async with subscribe(f"build.{build.pk}") as events:
        await build.arefresh_from_db()  # It may have gone on before the subscription began.
        yield ServerSentEvent({**build.progress(), "log": build.log.splitlines()}, event="state")
        while build.state == "running":
            yield (event := await anext(events))
            if event.event == "done":
                return
