"""A user's inbox, and the staff's view of all of them; each stream has its guard."""

from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.forms import modelform_factory
from django.http import JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from demo_project.inbox.models import Note
from django_sse import event_stream

NoteForm = modelform_factory(Note, fields=["recipient", "body"])


@login_required
def page(request):
    others = get_user_model().objects.exclude(pk=request.user.pk).order_by("is_staff", "username")
    notes = request.user.notes.select_related("sender")
    return render(request, "inbox/page.html", {"notes": notes, "others": others})


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


async def own_group(request):
    return f"inbox.{(await request.auser()).pk}"


@event_stream(groups=own_group, guard=is_signed_in, recheck=10)
async def notes(request, stream):
    await stream.send({"user": (await request.auser()).username}, event="connected")


@staff_member_required
def staff_page(request):
    notes = Note.objects.select_related("sender", "recipient")[:20]
    return render(request, "inbox/staff.html", {"notes": notes})


async def is_staff(request):
    return (await request.auser()).is_staff


@event_stream(groups="inbox.staff", guard=is_staff, recheck=10)
async def staff_notes(request, stream):
    await stream.send({"user": (await request.auser()).username}, event="connected")
