"""Transactions: what is told of a row after its commit, and that it is what has happened."""

import contextlib
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import TestCase

from django_sse import ModelPublisher, register, suppress_publishing
from django_sse.metrics import metrics
from django_sse.model_publishing import publishers as publishers_module
from tests.model_publishing.told import Told, changes, read, undone
from tests.models import Order, Tag

OPEN = {"status": "open"}
PAID = {"status": "paid"}
SENT = {"status": "sent"}


def save(order: Order, status: str) -> None:
    order.status = status
    order.save()


@pytest.fixture
def order(transactional_db, told, publish_model):
    """An open order, which is told of."""
    publish_model()
    order = Order.objects.create()
    told.clear()
    return order


@pytest.mark.django_db(transaction=True)
class TestTransaction:
    def test_after_the_commit(self, told, order):
        """Not before."""
        with transaction.atomic():
            save(order, "paid")
            assert told == []
        assert changes(told) == [("updated", PAID)]

    def test_rollback(self, told, order):
        """What did not happen is not told; the same instance is told of when it is saved again."""
        with transaction.atomic():
            save(order, "paid")
            Order.objects.create()
            transaction.set_rollback(True)
        assert told == []
        order.save()
        assert changes(told) == [("updated", PAID)]

    def test_save_that_fails(self, told, order):
        """Nothing is told."""
        with pytest.raises(IntegrityError):
            Order.objects.create(pk=order.pk)
        order.owner_id = 10**6
        with pytest.raises(IntegrityError):
            order.save()
        assert told == []

    def test_one_event_with_the_last_state(self, told, order):
        """However often it is saved, by whichever instance."""
        with transaction.atomic():
            save(order, "paid")
            save(Order.objects.get(), "sent")
            save(order, "lost")
        assert changes(told) == [("updated", {"status": "lost"})]

    def test_each_row_in_the_order_of_the_last_changes(self, told, order):
        """Rows do not hide each other."""
        other = Order.objects.create()
        told.clear()
        with transaction.atomic():
            save(order, "paid")
            save(other, "sent")
            save(order, "lost")
        assert changes(told) == [("updated", SENT), ("updated", {"status": "lost"})]

    def test_created_and_updated(self, told, publish_model):
        """It is created, as it was saved last."""
        publish_model()
        with transaction.atomic():
            save(Order.objects.create(), "paid")
        assert changes(told) == [("created", PAID)]

    def test_created_and_deleted(self, told, publish_model):
        """Nothing has happened."""
        publish_model()
        with transaction.atomic():
            order = Order.objects.create()
            save(order, "paid")
            order.tags.add(Tag.objects.create(label="x"))
            order.delete()
        assert told == []

    def test_updated_and_deleted(self, told, order):
        """It is deleted."""
        pk = order.pk
        with transaction.atomic():
            save(order, "paid")
            order.delete()
        assert changes(told) == [("deleted", {"id": pk})]

    def test_deleted_and_created_again(self, told, order):
        """It is updated."""
        pk = order.pk
        with transaction.atomic():
            order.delete()
            Order.objects.create(pk=pk, status="sent")
        assert changes(told) == [("updated", SENT)]

    def test_deleted_twice(self, told, order):
        """Created in between, it is deleted once."""
        pk = order.pk
        with transaction.atomic():
            order.delete()
            Order.objects.create(pk=pk).delete()
        assert changes(told) == [("deleted", {"id": pk})]

    def test_changed_in_memory_before_the_commit(self, told, publish_model, order):
        """What was saved is told, and compared with next time."""
        publish_model(only=["status"], name="only")
        with transaction.atomic():
            save(order, "paid")
            order.status = "not saved"
        assert [one.data for one in told] == [PAID, PAID]
        told.clear()
        order.save()
        assert [one.event for one in told] == ["order.updated", "only.updated"]

    def test_deferred_field_set_before_the_commit(self, told, publish_model):
        """It was not saved: it is read."""
        publish_model(fields=["status", "total"])
        Order.objects.create(total=1)
        told.clear()
        with transaction.atomic():
            order = Order.objects.defer("total").get()
            save(order, "paid")
            order.total = 99
        assert changes(told) == [("updated", {"status": "paid", "total": "1.00"})]

    def test_read_anew_after_an_update_without_signals(self, told, publish_model):
        """What a save leaves alone is told as it was read since, by whichever instance."""
        publish_model(fields=["status", "total"])
        Order.objects.create()
        told.clear()
        for number, way in enumerate(("refresh", "get"), 5):
            order = Order.objects.get()
            with transaction.atomic():
                save(order, "paid")
                Order.objects.update(total=number)
                if way == "refresh":
                    order.refresh_from_db()
                else:
                    order = Order.objects.get()
                order.status = "sent"
                order.save(update_fields=["status"])
            assert changes(told) == [("updated", {"status": "sent", "total": f"{number}.00"})]

    def test_part_that_was_read_anew(self, told, publish_model):
        """The rest of that instance is as old as it was."""
        publish_model(fields=["status", "total"])
        Order.objects.create()
        told.clear()
        first, second = Order.objects.get(), Order.objects.get()
        with transaction.atomic():
            save(first, "paid")
            second.refresh_from_db(fields=["total"])
            second.save(update_fields=["total"])
        assert changes(told) == [("updated", {"status": "paid", "total": "0.00"})]

    def test_saved_aloud_and_then_in_silence(self, told, order):
        """It is told in its last state."""
        with transaction.atomic():
            save(order, "paid")
            with suppress_publishing():
                save(Order.objects.get(), "sent")
        assert changes(told) == [("updated", SENT)]

    def test_saved_aloud_and_then_in_silence_that_is_undone(self, told, order):
        """The silence leaves nothing."""
        with transaction.atomic():
            save(order, "paid")
            with undone(), suppress_publishing():
                save(order, "sent")
        assert changes(told) == [("updated", PAID)]

    def test_saved_in_silence_and_then_aloud(self, told, order, publish_model):
        """What was done in silence was known before."""
        publish_model(name="only", only=["status"])
        with transaction.atomic():
            with suppress_publishing():
                save(order, "paid")
            order.save()
        assert [one.event for one in told] == ["order.updated"]

    def test_saved_aloud_and_deleted_in_silence(self, told, order):
        """There is nothing to tell of any more."""
        with transaction.atomic():
            save(order, "paid")
            with suppress_publishing():
                order.delete()
        assert told == []

    def test_no_query_more(self, told, order, django_assert_num_queries):
        """A thousand saves or one: BEGIN, the saves, COMMIT."""
        with django_assert_num_queries(2 + 5), transaction.atomic():
            for number in range(5):
                save(order, str(number))
        assert changes(told) == [("updated", {"status": "4"})]

    def test_row_saved_in_a_function_on_commit(self, told, order):
        """The last state is told last, though the function comes before the commit's own event."""
        with transaction.atomic():
            transaction.on_commit(lambda: save(order, "sent"))
            save(order, "paid")
        assert changes(told) == [("updated", SENT)]

    def test_row_saved_in_a_transaction_of_a_function_on_commit(self, told, publish_model):
        """The same; and a row is created once."""
        publish_model()

        def in_transaction() -> None:
            with transaction.atomic():
                save(Order.objects.get(), "sent")

        with transaction.atomic():
            transaction.on_commit(in_transaction)
            order = Order.objects.create()
            save(order, "paid")
        assert changes(told) == [("created", SENT)]

    def test_row_saved_in_a_function_after_it_was_told(self, told, order):
        """Both are told."""
        with transaction.atomic():
            save(order, "paid")
            transaction.on_commit(lambda: save(order, "sent"))
        assert changes(told) == [("updated", PAID), ("updated", SENT)]

    def test_many_saves_of_a_row(self, told, order):
        """Each is a constant amount of work."""
        with transaction.atomic():
            for number in range(500):
                save(order, str(number))
        assert changes(told) == [("updated", {"status": "499"})]


@pytest.mark.django_db(transaction=True)
class TestSavepoints:
    @pytest.mark.parametrize(
        ("taken_back", "expected"),
        [
            ((), [("updated", {"status": "3"})]),
            ((1,), [("updated", {"status": "3"})]),
            ((2,), [("updated", {"status": "3"})]),
            ((3,), [("updated", {"status": "2"})]),
            ((1, 2), [("updated", {"status": "3"})]),
            ((2, 3), [("updated", {"status": "1"})]),
            ((1, 3), [("updated", {"status": "2"})]),
            ((1, 2, 3), []),
        ],
    )
    def test_rollback_of_some(self, told, order, taken_back, expected):
        """First, middle or last: what is left is told."""
        with transaction.atomic():
            for number in (1, 2, 3):
                with undone() if number in taken_back else transaction.atomic():
                    save(Order.objects.get(), str(number))
        assert changes(told) == expected

    @pytest.mark.parametrize("depth", [1, 2, 3])
    def test_nested(self, told, order, depth):
        """A savepoint takes with it those inside, that were released, too."""
        with transaction.atomic():
            save(order, "paid")
            with undone():
                save(order, "1")
                with transaction.atomic():
                    save(order, "2")
                    with transaction.atomic():
                        save(order, "3")
        assert changes(told) == [("updated", PAID)]

    def test_creation_undone(self, told, publish_model):
        """The row may be created again."""
        publish_model()
        with transaction.atomic():
            with undone():
                Order.objects.create(pk=5)
            Order.objects.create(pk=5, status="paid")
        assert changes(told) == [("created", PAID)]

    def test_deletion_undone(self, told, order):
        """The row is there, with what was done to it before."""
        pk = order.pk
        with transaction.atomic():
            save(order, "paid")
            with undone():
                order.delete()
        assert changes(told) == [("updated", PAID)]
        assert Order.objects.get().pk == pk


@pytest.mark.django_db(transaction=True)
class TestRollbacks:
    """What was written and is taken back was never there, though it was read meanwhile."""

    @pytest.fixture(autouse=True)
    def _publishers(self, publish_model):
        publish_model(only=["status"], name="only")
        publish_model(get_groups=lambda self, order: [f"owner.{order.owner_id}"])

    @pytest.mark.parametrize("read", ["loaded", "refreshed", "not read"])
    @pytest.mark.parametrize("taken_back", ["transaction", "savepoint"])
    def test_save_that_is_repeated(self, told, alice, bob, read, taken_back):
        """It is an update, and the owner of before is told."""
        with suppress_publishing():
            Order.objects.create(owner=alice)
        order = Order.objects.get()

        def attempt() -> Order:
            order.owner = bob
            save(order, "paid")
            if read == "refreshed":
                order.refresh_from_db()
            return Order.objects.get() if read == "loaded" else order

        with contextlib.ExitStack() as outer:
            if taken_back == "savepoint":
                outer.enter_context(transaction.atomic())
            with undone():
                again = attempt()
            again.save()
        assert [one.event for one in told if "only" in one.event] == ["only.updated"]
        moved = [(one.event, one.groups) for one in told if "only" not in one.event]
        assert ("order.updated", [f"owner.{bob.pk}"]) in moved
        if read != "loaded":  # Of one that was loaded meanwhile nothing older is known.
            assert ("order.deleted", [f"owner.{alice.pk}"]) in moved

    def test_what_was_told_explicitly(self, told, publish_model):
        """An update() that is published counts as written."""
        publisher = publish_model(only=["total"], name="total")
        Order.objects.create()
        told.clear()
        with undone():
            Order.objects.update(total=5)
            publisher.publish(Order.objects.all())
            order = Order.objects.get()
        order.save()
        assert "total.updated" in [one.event for one in told]


@pytest.mark.django_db(transaction=True)
class TestAudiences:
    def test_row_that_moves(self, told, by_owner, alice, bob, django_assert_num_queries):
        """It is deleted for those it left, and an update for the others; no query more."""
        order = Order.objects.create(owner=alice)
        told.clear()
        order.owner = bob
        with django_assert_num_queries(1):
            order.save()
        assert told == [
            Told("order.deleted", {"id": order.pk}, [f"owner.{alice.pk}"]),
            Told("order.updated", OPEN, [f"owner.{bob.pk}"], told[1].key),
        ]

    def test_row_that_nobody_sees_any_more(self, told, publish_model):
        """It is deleted for all; and is there again when it comes back."""
        publish_model(get_groups=lambda self, order: ["open"] if order.status == "open" else [])
        order = Order.objects.create()
        told.clear()
        save(order, "paid")
        assert changes(told) == [("deleted", {"id": order.pk})]
        save(order, "open")
        assert changes(told) == [("updated", OPEN)]

    def test_groups_that_stay(self, told, publish_model, alice, bob):
        """They get the update only."""
        publish_model(get_groups=lambda self, order: ["all", f"owner.{order.owner_id}"])
        order = Order.objects.create(owner=alice)
        told.clear()
        order.owner = bob
        order.save()
        assert [one.groups for one in told] == [
            [f"owner.{alice.pk}"], ["all", f"owner.{bob.pk}"],
        ]  # fmt: skip

    def test_move_that_is_of_no_interest(self, told, publish_model, alice, bob):
        """Those to whom the row is new are told of it, whatever `only` says; others are not."""
        publish_model(
            only=["status"], get_groups=lambda self, order: ["all", f"owner.{order.owner_id}"]
        )
        order = Order.objects.create(owner=alice)
        told.clear()
        order.owner = bob
        order.save()
        assert [(one.event, one.groups) for one in told] == [
            ("order.deleted", [f"owner.{alice.pk}"]),
            ("order.updated", [f"owner.{bob.pk}"]),
        ]

    def test_move_there_and_back_in_a_transaction(self, told, by_owner, alice, bob):
        """Nobody has lost it."""
        order = Order.objects.create(owner=alice)
        told.clear()
        with transaction.atomic():
            order.owner = bob
            order.save()
            order.owner = alice
            order.save()
        assert [(one.event, one.groups) for one in told] == [
            ("order.updated", [f"owner.{alice.pk}"])
        ]

    def test_move_and_deletion_in_a_transaction(self, told, by_owner, alice, bob):
        """Who could see the row before is told, and nobody else; whichever instance it is."""
        for instance in ("same", "other"):
            order = Order.objects.create(owner=alice)
            told.clear()
            with transaction.atomic():
                order.owner = bob
                order.save()
                (order if instance == "same" else Order.objects.get()).delete()
            assert [(one.event, one.groups) for one in told] == [
                ("order.deleted", [f"owner.{alice.pk}"])
            ]

    def test_move_and_cascade_in_a_transaction(self, told, publish_model, alice, bob):
        """What the groups hang on is gone after the commit, and was asked for before."""
        publish_model(get_groups=lambda self, order: [order.owner.name])
        order = Order.objects.create(owner=alice)
        told.clear()
        with transaction.atomic():
            order.owner = bob
            order.save()
            bob.delete()
            alice.delete()
        assert [(one.event, one.groups) for one in told] == [("order.deleted", ["alice"])]

    def test_deletion_undone_and_move(self, told, by_owner, alice, bob):
        """Who was asked for a deletion that did not happen does not matter."""
        order = Order.objects.create(owner=alice)
        told.clear()
        with transaction.atomic():
            with undone():
                Order.objects.get().delete()
            order.owner = bob
            order.save()
        assert [(one.event, one.groups) for one in told] == [
            ("order.deleted", [f"owner.{alice.pk}"]),
            ("order.updated", [f"owner.{bob.pk}"]),
        ]

    def test_related_objects_are_those_of_the_state(self, told, publish_model, alice, bob):
        """What select_related() has read comes along, if it is still the one."""
        publish_model(
            get_groups=lambda self, order: [order.owner.name],
            get_data=lambda self, order, change: (
                order.pk if change == "deleted" else order.owner.name
            ),
        )
        Order.objects.create(owner=alice)
        for change in ("owner", "owner_id"):
            Order.objects.update(owner=alice)
            order = Order.objects.select_related("owner").get()
            told.clear()
            with transaction.atomic():
                setattr(order, change, bob if change == "owner" else bob.pk)
                order.save()
                order.owner = alice
            assert [(one.event, one.data, one.groups) for one in told] == [
                ("order.deleted", order.pk, ["alice"]),
                ("order.updated", "bob", ["bob"]),
            ]

    def test_groups_before_that_fail(self, told, publish_model, caplog, alice, bob):
        """The rest is told."""

        def get_groups(self: ModelPublisher, order: Order) -> list[str]:
            if order.owner_id == alice.pk:
                raise RuntimeError("broken")
            return ["all"]

        publish_model(get_groups=get_groups)
        order = Order.objects.create(owner=alice)
        order.owner = bob
        order.save()
        assert changes(told) == [("updated", OPEN)]
        assert metrics.publish_errors == 2


def groups_by_total_and_tags(self: ModelPublisher, order: Any) -> list[str]:
    return ["all", f"{order.total:.0f}", *(tag.label for tag in order.tags.all())]


class Capturing:
    """What holds in a test whose transaction never ends, however its hooks are run."""

    def capture(self) -> Any:
        raise NotImplementedError

    def check_several_captures(self, told: list[Told]) -> None:
        order = Order.objects.create()
        with self.capture():
            save(order, "paid")
            save(order, "sent")
        assert changes(told) == [("updated", SENT)]
        with self.capture():
            save(order, "paid")
        assert changes(told) == [("updated", PAID)]
        with self.capture():
            order.save()
        assert changes(told) == []
        with self.capture():
            other = Order.objects.create()
        assert changes(told) == [("created", OPEN)]
        with self.capture():
            save(Order.objects.get(pk=other.pk), "paid")
            pk = other.pk
            other.delete()
        assert changes(told) == [("deleted", {"id": pk})]

    def check_what_was_not_captured(self, told: list[Told]) -> None:
        order = Order.objects.create()
        save(order, "paid")
        with self.capture():
            order.tags.add(Tag.objects.create(label="x"))
        assert changes(told) == [("m2m_changed", PAID)]
        with self.capture():
            order.save()
        assert changes(told) == []

    def check_audience_that_was_not_captured(self, told: list[Told]) -> None:
        order, tag = Order.objects.create(total=1), Tag.objects.create(label="x")
        order.total = 2
        order.save()
        order.tags.add(tag)
        with self.capture():
            order.tags.remove(tag)
        assert [(one.event, one.groups) for one in told] == [
            ("order.deleted", ["x"]),
            ("order.m2m_changed", ["all", "2"]),
        ]
        told.clear()
        with self.capture():
            order.delete()
        assert [(one.event, one.groups) for one in told] == [("order.deleted", ["all", "2"])]

    def check_nested_captures(self, told: list[Told]) -> None:
        with self.capture():
            order = Order.objects.create()
            with self.capture():
                save(order, "paid")
            assert changes(told) == [("updated", PAID)]
        assert [change for change, _ in changes(told)] == ["created", "updated"]


class TestDjangosTestCase(Capturing, TestCase):
    """captureOnCommitCallbacks()."""

    def setUp(self) -> None:
        self.told: list[Told] = []

        def publish(groups: Any, data: Any, **fields: Any) -> None:
            self.told.append(read(groups, data, **fields))

        self.enterContext(pytest.MonkeyPatch.context()).setattr(
            publishers_module, "publish", publish
        )

        @register(Order)
        class Publisher(ModelPublisher):
            fields = ["status"]
            only = ["status"]

            def get_groups(self, order: Any) -> list[str]:
                return groups_by_total_and_tags(self, order)

    def capture(self) -> Any:
        return self.captureOnCommitCallbacks(execute=True)

    def test_several_captures(self):
        """Each tells what was done in it."""
        self.check_several_captures(self.told)

    def test_what_was_not_captured(self):
        """It is where the row begins."""
        self.check_what_was_not_captured(self.told)

    def test_audience_that_was_not_captured(self):
        """Nobody is told of what they could see before it."""
        self.check_audience_that_was_not_captured(self.told)

    def test_nested_captures(self):
        """The outer one repeats the inner one's, as Django runs the hooks twice."""
        self.check_nested_captures(self.told)


@pytest.mark.django_db
class TestPytestDjango(Capturing):
    """django_capture_on_commit_callbacks."""

    @pytest.fixture(autouse=True)
    def _publisher(self, told, publish_model, django_capture_on_commit_callbacks):
        publish_model(only=["status"], get_groups=groups_by_total_and_tags)
        self._capture = django_capture_on_commit_callbacks

    def capture(self) -> Any:
        return self._capture(execute=True)

    def test_several_captures(self, told):
        """Each tells what was done in it."""
        self.check_several_captures(told)

    def test_what_was_not_captured(self, told):
        """It is where the row begins."""
        self.check_what_was_not_captured(told)

    def test_audience_that_was_not_captured(self, told):
        """Nobody is told of what they could see before it."""
        self.check_audience_that_was_not_captured(told)

    def test_nested_captures(self, told):
        """The outer one repeats the inner one's, as Django runs the hooks twice."""
        self.check_nested_captures(told)
