"""The command that fills the demo's database."""

import io

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import Permission, User
from django.core.management import call_command

from demo_project.accounts import ADMIN, OPERATOR, PEOPLE
from demo_project.board.models import Announcement
from demo_project.builds.models import Build
from demo_project.inbox.models import Note
from demo_project.orders.models import Order

pytestmark = pytest.mark.django_db


def run():
    output = io.StringIO()
    call_command("demo_data", stdout=output, no_color=True)
    models = (User, Announcement, Note, Order)
    return output.getvalue(), [model.objects.count() for model in models]


def test_demo_data_may_be_run_again():
    """A second run adds nothing, and prints the same logins."""
    assert run() == run()


def test_demo_data_prints_logins_that_work():
    """Each printed name and password signs in, even where the password had been changed."""
    run()
    ada = User.objects.get(username="ada")
    ada.set_password("changed")
    ada.save()
    output, _ = run()
    for name, password in [*PEOPLE, ADMIN, OPERATOR]:
        assert f"{name} / {password}" in output
        user = authenticate(username=name, password=password)
        assert user is not None
        assert user.is_staff is (name in {ADMIN[0], OPERATOR[0]})


def test_operator_may_see_and_close_streams_alone():
    """And nothing else in the admin, even where more had been given."""
    run()
    operator = User.objects.get(username=OPERATOR[0])
    operator.user_permissions.add(Permission.objects.get(codename="publish_event"))
    run()
    operator = User.objects.get(username=OPERATOR[0])
    assert operator.get_all_permissions() == {
        "django_sse.view_worker",
        "django_sse.view_connection",
        "django_sse.close_connection",
    }
    assert not operator.is_superuser


def test_demo_data_ends_builds_of_a_server_that_is_gone():
    """A build that was running when its server was stopped is not shown as running for ever."""
    build = Build.objects.create(target="Django")
    run()
    build.refresh_from_db()
    assert build.state == "interrupted"
