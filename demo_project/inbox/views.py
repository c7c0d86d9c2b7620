"""A user's inbox, and the staff's view of all of them; each stream has its guard."""

from asgiref.sync import sync_to_async
from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.forms import modelform_factory
from django.http import JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_POST

from demo_project.inbox.models import Note
from django_sse import ServerSentEvent, event_stream, subscribe

NoteForm = modelform_factory(Note, fields=["recipient", "body"])


def notes_of(user):
    return render_to_string("inbox/_notes.html", {"notes": user.notes.select_related("sender")})


@login_required
def page(request):
    others = get_user_model().objects.exclude(pk=request.user.pk).order_by("is_staff", "username")
    return render(request, "inbox/page.html", {"notes": notes_of(request.user), "others": others})


@login_required
@require_POST
def send(request):
    form = NoteForm(request.POST, instance=Note(sender=request.user))
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    note = form.save()
    return JsonResponse({"recipient": note.recipient.username})


async def is_signed_in(request):
    return (await request.auser()).is_authenticated


@event_stream(guard=is_signed_in, recheck=10)
async def notes(request, stream):
    """Handler style: the stream is set up, and goes on with its group."""
    user = await request.auser()
    await stream.subscribe(f"inbox.{user.pk}")
    html = await sync_to_async(notes_of)(user)
    await stream.send({"user": user.username, "html": html}, event="connected")


@staff_member_required
def staff_page(request):
    notes = Note.objects.select_related("sender", "recipient")[:20]
    return render(request, "inbox/staff.html", {"notes": notes})


async def is_staff(request):
    return (await request.auser()).is_staff


@event_stream(guard=is_staff, recheck=10)
async def staff_notes(request):
    """Generator style: who wrote to whom, and nothing of what they wrote."""
    async with subscribe("inbox.staff") as events:
        yield ServerSentEvent({"user": (await request.auser()).username}, event="connected")
        async for event in events:
            yield event
