"""What instances know of their rows, through transactions that are committed and rolled back."""

import copy
import pickle

import pytest
from django.db import transaction

from django_sse.model_publishing.knowledge import known, remember, remember_some
from django_sse.model_publishing.transactions import Write
from tests.model_publishing.told import undone
from tests.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

OPEN = {"id": 1, "status": "open"}
PAID = {"id": 1, "status": "paid"}
SENT = {"id": 1, "status": "sent"}


def write() -> None:
    Write("default").enlist()


def state(order, using="default"):
    found = known(order, using)
    return None if found is None else found.state


@pytest.fixture
def order():
    return Order(pk=1)


def test_nothing(order):
    """Of an instance that was made."""
    assert known(order, "default") is None


def test_what_was_remembered_last(order):
    """Whether or not the instance counts as saved."""
    remember(order, OPEN, "default")
    remember(order, PAID, "default")
    assert state(order) == PAID


def test_other_row(order):
    """What is known is of the row with that key, in that database."""
    remember(order, OPEN, "default")
    assert state(order, "other") is None
    order.pk = 2
    assert state(order) is None
    order.pk = 1
    assert state(order) == OPEN


def test_transaction_that_is_committed(order):
    """What was written and read in it is for good."""
    with transaction.atomic():
        write()
        remember(order, PAID, "default")
        assert state(order) == PAID
    assert state(order) == PAID


@pytest.mark.parametrize("remembered", [[PAID], [PAID, SENT]])
def test_transaction_that_is_rolled_back(order, remembered):
    """What was known before is known again."""
    remember(order, OPEN, "default")
    with undone():
        for each in remembered:
            write()
            remember(order, each, "default")
    assert state(order) == OPEN


def test_nothing_was_known_before_a_rollback(order):
    """Then nothing is known."""
    with undone():
        write()
        remember(order, PAID, "default")
    assert known(order, "default") is None


def test_rollback_before_which_nothing_was_written(order):
    """What was read was there before."""
    with undone():
        remember(order, OPEN, "default")
    assert state(order) == OPEN


def test_savepoints(order):
    """One that is rolled back takes back what was written in it, and no more."""
    remember(order, OPEN, "default")
    with transaction.atomic():
        write()
        remember(order, PAID, "default")
        with undone():
            write()
        assert state(order) == PAID
        with undone():
            write()
            remember(order, SENT, "default")
        assert state(order) == OPEN  # Which pages have seen.


def test_commits_in_a_row(order):
    """A later rollback goes back to the last of them, and nothing earlier is kept."""
    for each in (OPEN, PAID):
        with transaction.atomic():
            write()
            remember(order, each, "default")
    with undone():
        write()
        remember(order, SENT, "default")
    found = known(order, "default")
    assert found is not None
    assert (found.state, found.earlier) == (PAID, None)


def test_columns_that_are_read_later(order):
    """They are added; a rollback takes them back."""
    remember(order, OPEN, "default")
    remember_some(order, {"id": 1, "total": 5}, "default")
    assert state(order) == {**OPEN, "total": 5}
    with undone():
        write()
        remember_some(order, {"id": 1, "total": 7}, "default")
        assert state(order) == {**OPEN, "total": 7}
    assert state(order) == {**OPEN, "total": 5}


def test_columns_that_are_read_of_an_unknown_row(order):
    """Nothing else is known."""
    remember_some(order, {"id": 1, "total": 5}, "default")
    assert state(order) == {"id": 1, "total": 5}


def test_since_when_it_is_known(order):
    """Since the last write before all of it was read."""
    with transaction.atomic():
        remember(order, OPEN, "default")
        write()
        remember_some(order, {"id": 1, "total": 5}, "default")
        found = known(order, "default")
        assert found is not None
        assert found.since == 0
        remember(order, OPEN, "default")
        found = known(order, "default")
        assert found is not None
        assert found.since > 0


def test_copies_know_as_much(order):
    """Also those of which a test case makes one for each test."""
    remember(order, OPEN, "default")
    assert state(copy.copy(order)) == state(copy.deepcopy(order)) == OPEN
    with undone():
        write()
        remember(order, PAID, "default")
        twin = copy.deepcopy(order)
        assert state(twin) == PAID
    assert state(twin) == OPEN


def test_pickled_instances(order):
    """They know what is for good: where they are read there is no transaction."""
    unpickled = [pickle.loads(pickle.dumps(order))]
    with transaction.atomic():
        write()
        remember(order, PAID, "default")
        unpickled.append(pickle.loads(pickle.dumps(order)))
    unpickled.append(pickle.loads(pickle.dumps(order)))
    with transaction.atomic():
        write()
        remember(order, SENT, "default")
        unpickled.append(pickle.loads(pickle.dumps(order)))
    assert [state(each) for each in unpickled] == [None, None, PAID, PAID]
