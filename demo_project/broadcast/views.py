"""A message to everyone who is here."""

from django.http import JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from demo_project.broadcast import receivers
from django_sse import broadcast, event_stream


def page(request):
    return render(request, "broadcast/page.html", {"open_streams": receivers.count})


@require_POST
def send(request):
    """Broadcast to every open stream; answer how many of them this worker has."""
    text = request.POST.get("text", "").strip()
    if not 0 < len(text) <= 200:
        return JsonResponse({"errors": {"text": ["Write 1 to 200 characters."]}}, status=400)
    sender = request.user.get_username() or "Someone"
    return JsonResponse({"streams": broadcast({"from": sender, "text": text}, event="broadcast")})


@event_stream(groups=lambda request: receivers.lobby())
async def lobby(request, stream):
    """For every page: broadcasts, and how many streams are open."""
