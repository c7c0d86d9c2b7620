"""What a view's functions are called with."""

import uuid
from functools import partial

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth.models import User
from django.core.exceptions import FieldError
from django.http import Http404
from django.test import RequestFactory

from django_sse import event_stream
from django_sse.arguments import ModelArguments, call_with_request, check_lookups
from django_sse.metrics import metrics
from tests import postponed
from tests.models import Room

RETRY = b"retry: 3000\n\n"
REQUEST = RequestFactory().get("/")


@pytest.fixture
def room(transactional_db):
    return Room.objects.create(slug="lobby", name="The lobby")


@event_stream
async def generator(request, room: Room):
    yield room.name


@event_stream
async def handler(request, stream, room: Room):
    await stream.send(room.name)


@pytest.mark.parametrize("view", [generator, handler])
class TestModelParameter:
    async def test_primary_key_becomes_the_instance(self, view, asgi, route, room):
        """A parameter whose type is a model is given the instance that the URL names."""
        route("s/<room>/", view)
        assert (await asgi.get(f"/s/{room.pk}/")).body == RETRY + b"data: The lobby\n\n"

    @pytest.mark.parametrize("value", ["999999", "no-number", "1.5", "9" * 40])
    async def test_no_such_instance_is_404_before_streaming(self, view, asgi, route, room, value):
        """An argument that names no instance, or cannot, is Django's 404; nothing is opened."""
        route("s/<room>/", view)
        assert (await asgi.get(f"/s/{value}/")).status == 404
        assert metrics.streams_opened == 0

    async def test_head_of_a_missing_instance(self, view, asgi, route, room):
        """HEAD tells that the instance is missing, too."""
        route("s/<room>/", view)
        assert (await asgi.get("/s/0/", method="HEAD")).status == 404
        assert (await asgi.get(f"/s/{room.pk}/", method="HEAD")).status == 200


class TestLookups:
    async def test_lookup_names_a_field(self, asgi, route, room):
        """lookups= says which field the argument names."""

        @event_stream(lookups={"room": "slug"})
        async def view(request, stream, room: Room):
            await stream.send(room.name)

        route("s/<slug:room>/", view)
        assert (await asgi.get("/s/lobby/")).body == RETRY + b"data: The lobby\n\n"
        assert (await asgi.get("/s/cellar/")).status == 404

    async def test_lookup_goes_through_relations(self, asgi, route, room):
        """A lookup is any that the ORM takes."""

        @event_stream(lookups={"room": "name__iexact"})
        async def view(request, stream, room: Room):
            await stream.send(room.slug)

        route("s/<room>/", view)
        assert (await asgi.get("/s/THE lobby/")).body == RETRY + b"data: lobby\n\n"

    async def test_lookup_of_no_field(self, asgi, route, room, caplog):
        """A field that the model does not have is an error that names the option."""

        @event_stream(lookups={"room": "slgu"})
        async def view(request, stream, room: Room):
            pass

        route("s/<room>/", view)
        assert (await asgi.get("/s/lobby/")).status == 500
        assert "lookups names no field of Room: Cannot resolve keyword 'slgu'" in caplog.text

    def test_lookup_of_no_parameter(self):
        """A parameter that the view does not have is an error where it is decorated."""

        async def view(request, stream, room: Room):
            pass

        with pytest.raises(ValueError, match=r"lookups names 'rom', which is no parameter of"):
            event_stream(lookups={"rom": "slug"})(view)
        check_lookups(view, {"room": "slug"})

    async def test_lookup_with_many_instances(self, asgi, route, room, sync):
        """A lookup that is not unique is the project's mistake, not the client's: an error."""
        await sync(partial(Room.objects.create, slug="attic", name="The lobby"))

        @event_stream(lookups={"room": "name"})
        async def view(request, stream, room: Room):
            pass

        route("s/<room>/", view)
        assert (await asgi.get("/s/The lobby/")).status == 500


class TestOptionsGetTheInstance:
    async def test_guard_and_groups_get_the_instance(self, asgi, route, room):
        """The model is resolved once, before the guard and the groups are asked."""
        seen = []

        def guard(request, room):
            seen.append(room)
            return True

        @event_stream(
            guard=guard,
            groups=lambda request, room: f"room.{room.slug}",
        )
        async def view(request, stream, room: Room):
            seen.append(room)
            await stream.send(sorted(stream.groups))
            await stream.close()

        route("s/<room>/", view)
        exchange = await asgi.get(f"/s/{room.pk}/")
        assert exchange.body == RETRY + b'data: ["room.lobby"]\n\n'
        assert seen[0] is seen[1]
        assert seen[0] == room


class TestAnnotations:
    async def test_postponed_annotations(self, asgi, route, room):
        """Annotations that are text, and names that only type checkers know, work."""
        route("s/<room>/<amount>/", postponed.handler)
        exchange = await asgi.get("/s/lobby/5/")
        assert exchange.body == RETRY + b'data: ["The lobby","5"]\n\n'
        assert (await asgi.get("/s/cellar/5/")).status == 404

    async def test_postponed_annotations_under_a_decorator(self, asgi, route, room):
        """They are those of the view, where a decorator is in between."""
        route("s/<room>/", postponed.wrapped)
        assert (await asgi.get("/s/lobby/")).body == RETRY + b"data: The lobby\n\n"

    async def test_annotations_that_cannot_be_read(self, asgi, route, room):
        """What cannot be evaluated, and a union with None, is no model: the argument stays."""
        route("s/<room>/<word>/", postponed.odd)
        assert (await asgi.get("/s/lobby/x/")).body == RETRY + b'data: ["lobby","x"]\n\n'

    async def test_parameter_that_the_url_does_not_give(self, asgi, route, room):
        """A default is used as in any view."""

        @event_stream
        async def view(request, stream, room: Room | None = None, word: str = "none"):
            await stream.send([room, word])

        route("s/", view)
        assert (await asgi.get("/s/")).body == RETRY + b'data: [null,"none"]\n\n'

    async def test_two_models(self, asgi, route, room, sync):
        """Each parameter has its own model, and Http404 says which one was not found."""
        user = await sync(User.objects.create_user, "ada")

        async def view(request, stream, room: Room, user: User): ...

        arguments = ModelArguments(view, {"user": "username"})
        kwargs = {"room": room.pk, "user": "ada", "other": "kept"}
        assert await arguments.resolve(kwargs) == {"room": room, "user": user, "other": "kept"}
        with pytest.raises(Http404, match="There is no User with username='bob'"):
            await arguments.resolve({"room": room.pk, "user": "bob"})

    async def test_resolve_validates(self, transactional_db):
        """A value that the field refuses is a 404 as well."""

        async def view(request, stream, session: User): ...

        arguments = ModelArguments(view, {"session": "last_login"})
        with pytest.raises(Http404):
            await arguments.resolve({"session": uuid.uuid4().hex})
        with pytest.raises(FieldError):
            await ModelArguments(view, {"session": "nothing"}).resolve({"session": 1})


class TestCallWithRequest:
    @pytest.mark.parametrize("is_async", [False, True])
    async def test_named_arguments_only(self, is_async):
        """A function is given those arguments of the URL that it names, whatever it calls the
        request."""

        def sync_function(r, b, *, a=0):
            return r, a, b

        async def async_function(r, b, *, a=0):
            return r, a, b

        function = async_function if is_async else sync_function
        assert iscoroutinefunction(function) == is_async
        kwargs = {"a": 1, "b": 2, "r": "not the request", "c": 3}
        assert await call_with_request(function, REQUEST, kwargs) == (REQUEST, 1, 2)

    async def test_all_arguments(self):
        """One with **kwargs is given all of them."""
        result = await call_with_request(lambda request, **kwargs: kwargs, REQUEST, {"a": 1})
        assert result == {"a": 1}

    async def test_sync_function_that_returns_a_coroutine(self):
        """A lambda around a coroutine function is awaited."""

        async def answer(a):
            return a

        assert await call_with_request(lambda request, a: answer(a), REQUEST, {"a": 1}) == 1

    async def test_builtin_without_signature_arguments(self):
        """A method, a partial and a class can be asked as a function can."""

        class Guard:
            def __call__(self, request, a):
                return a

        assert await call_with_request(Guard(), REQUEST, {"a": 1}) == 1
        assert await call_with_request(partial(Guard(), a=2), REQUEST, {}) == 2

    async def test_missing_argument(self):
        """A name that the URL does not give is Python's own error."""
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'b'"):
            await call_with_request(lambda request, b: b, REQUEST, {"a": 1})

    async def test_error_passes(self):
        """What the function raises is raised."""
        with pytest.raises(ZeroDivisionError):
            await call_with_request(lambda request: 1 / 0, REQUEST, {})
