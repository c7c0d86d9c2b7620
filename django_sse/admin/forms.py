"""The forms by which operators send events."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.utils.translation import gettext_lazy as _

from django_sse.exceptions import InvalidEvent, InvalidGroup
from django_sse.framing import check_field
from django_sse.groups import check_names

__all__ = ["GroupField", "ReplayForm", "TestEventForm", "TestEventToForm", "TestEventToManyForm"]


class GroupField(forms.CharField):
    """The name of a group, any string; it is not stripped."""

    widget = AdminTextInputWidget

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"strip": False, **options})

    def clean(self, value: Any) -> str:
        """See Field."""
        name: str = super().clean(value)
        if name:
            try:
                check_names(name)
            except InvalidGroup as error:
                raise forms.ValidationError(str(error)) from error
        return name


class TestEventForm(forms.Form):
    """A test event: its name and its data, as text."""

    # Not a test of a test runner's.
    __test__ = False

    event = forms.CharField(
        label=_("Event"),
        initial="test",
        required=False,
        max_length=200,
        strip=False,
        widget=AdminTextInputWidget,
        help_text=_(
            "The name that pages listen for. Without one it is a “message”. A page that listens"
            " for no such event takes no notice."
        ),
    )
    text = forms.CharField(
        label=_("Data"),
        initial="This is a test.",
        strip=False,
        widget=AdminTextareaWidget(attrs={"rows": 4}),
        help_text=_(
            "It is sent as it is, text or JSON. A page that shows data as HTML does so with this."
        ),
    )

    def clean_event(self) -> str:
        """Return the name, if it can be that of an event."""
        name: str = self.cleaned_data["event"]
        try:
            check_field("event", name)
        except InvalidEvent as error:
            raise forms.ValidationError(str(error)) from error
        return name


class TestEventToForm(TestEventForm):
    """The same, and to whom it goes, of what there is to choose for one stream."""

    to = forms.ChoiceField(label=_("To"), initial="stream", widget=forms.RadioSelect)
    field_order = ["to"]

    def __init__(self, *args: Any, choices: Iterable[tuple[str, str]], **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["to"].choices = list(choices)  # type: ignore[attr-defined]


class TestEventToManyForm(TestEventForm):
    """The same, to a group or to all."""

    group = GroupField(
        label=_("Group"),
        required=False,
        help_text=_("Without one it goes to all streams of all workers."),
    )
    field_order = ["group"]


class ReplayForm(forms.Form):
    """Where to publish events once more."""

    group = GroupField(
        label=_("Group"),
        required=False,
        help_text=_("Without one each event goes to its own group."),
    )
