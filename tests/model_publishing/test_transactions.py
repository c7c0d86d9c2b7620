"""Writes of transactions, and what becomes of them."""

import pytest
from django.db import transaction

from django_sse.metrics import metrics
from django_sse.model_publishing.transactions import Fates, Write, latest
from tests.model_publishing.told import undone

pytestmark = pytest.mark.django_db(transaction=True)


def write() -> Write:
    one = Write("default")
    one.enlist()
    return one


def test_without_a_transaction():
    """It is for good at once."""
    fate = write().fate
    assert fate.is_committed
    assert not fate.is_lost
    assert latest("default") is None


def test_commit():
    """It is open until then."""
    with transaction.atomic():
        fate = write().fate
        assert not fate.is_committed
        assert latest("default") is fate
    assert fate.is_committed
    assert not fate.is_lost
    assert latest("default") is None


def test_rollback():
    """It is lost."""
    with undone():
        fate = write().fate
    assert fate.is_lost
    assert latest("default") is None


def test_rollback_to_a_savepoint():
    """What was written before is the latest again."""
    with transaction.atomic():
        first = write().fate
        with undone():
            with transaction.atomic():
                lost = write().fate
            assert latest("default") is lost
        assert lost.is_lost
        assert latest("default") is first
        second = write().fate
        assert first.number < lost.number < second.number


def test_first_and_last():
    """Those that are open."""
    fates: Fates[Write] = Fates()
    assert (fates.first(), fates.last()) == (None, None)
    writes = [Write("default") for _ in range(4)]
    for number in range(4):
        fates.add(writes[number])
    writes[0].fate.is_committed = True
    del writes[3]
    assert (fates.first(), fates.last()) == (writes[1], writes[2])
    fates.remove_first()
    assert fates.first() is fates.last() is writes[2]


def test_manual_transactions(caplog):
    """Nothing can be known of them: that is logged, and nothing waits for their end."""
    transaction.set_autocommit(False)
    try:
        assert not write().fate.is_committed
        assert latest("default") is None
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert metrics.publish_errors == 1
    assert "cannot know when the transaction ends" in caplog.text
