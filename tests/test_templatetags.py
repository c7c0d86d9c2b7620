"""The tags, in Django's templates and in Jinja2's: what they render, and what they refuse."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jinja2
import pytest
from asgiref.sync import sync_to_async
from django import template as django_template
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.http import HttpRequest
from django.template import Context, Template, TemplateSyntaxError, engines
from django.test import RequestFactory
from django.urls import NoReverseMatch, include, path, register_converter, set_script_prefix
from django.utils.functional import SimpleLazyObject, lazystr
from django.utils.html import escape
from django.utils.safestring import mark_safe

from django_sse import EventStream, EventStreamView, apublish, event_stream, publish
from django_sse.exceptions import InvalidGroup
from django_sse.last_event_ids import aget_last_event_id, get_last_event_id
from django_sse.tokens import bindings_of, read_token
from tests.models import Room

SCRIPT = (
    '<script type="module" src="/static/django_sse/event-source.min.js"'
    ' data-shared="/static/django_sse/shared-connection.min.js"'
    ' data-fetch="/static/django_sse/fetch-source.min.js"></script>'
)


@event_stream
async def plain(request: HttpRequest, stream: EventStream, pk: int = 0) -> None:
    """Declare nothing."""


@event_stream(groups=["orders", "news"])
async def static_groups(request: HttpRequest, stream: EventStream) -> None:
    """Declare groups by name."""


@event_stream(groups=lambda request, pk: f"order.{pk}.{request.GET.get('x')}")
async def called_groups(request: HttpRequest, stream: EventStream, pk: int) -> None:
    """Declare groups by a function of the request and the URL."""


async def groups_of_room(request: HttpRequest, room: Room) -> list[str]:
    return [f"room.{room.name}"]


@event_stream(groups=groups_of_room, lookups={"room": "slug"})
async def groups_of_a_model(request: HttpRequest, stream: EventStream, room: Room) -> None:
    """Declare groups by an async function of an instance."""


class ByAttribute(EventStreamView):
    groups = ("orders", "news")


class ByMethod(EventStreamView):
    prefix = "order"

    def get_groups(self) -> list[str]:
        return [f"{self.prefix}.{self.kwargs['pk']}.{self.request.GET.get('x')}"]


class Ghost:
    """A converter of URLs that it does not take back."""

    regex = "[a-z]+"

    def to_url(self, value: str) -> str:
        return value

    def to_python(self, value: str) -> str:
        raise ValueError


register_converter(Ghost, "ghost")


class Urls:
    urlpatterns = [
        path("plain/", plain, name="plain"),
        path("plain/<int:pk>/", plain, name="order-events"),
        path("static/", login_required(static_groups), name="static"),
        path("called/<int:pk>/", called_groups, name="called"),
        path("called-é/<int:pk>/", called_groups, name="quoted"),
        path("room/<slug:room>/", groups_of_a_model, name="room"),
        path("attribute/", login_required(ByAttribute.as_view()), name="attribute"),
        path("initkwargs/", ByAttribute.as_view(groups="own"), name="initkwargs"),
        path("method/<int:pk>/", ByMethod.as_view(prefix="o"), name="method"),
        path("ghost/<ghost:name>/", static_groups, name="ghost"),
        path("page/", lambda request: None, name="page"),  # type: ignore[arg-type,return-value]
        path("app/", include(([path("x/", plain, name="x")], "app"), namespace="one")),
        path("other/", include(([path("x/", plain, name="x")], "app"), namespace="two")),
        path("sse/", include("django_sse.urls")),
    ]


TEMPLATES: dict[str, dict[str, str]] = {
    "django": {
        "head.html": "{% load django_sse %}{% event_source_script %}",
        "source.html": "{% load django_sse %}{% event_source 'plain' %}",
        "base.html": "<head>{% block head %}{% endblock %}</head>{% block body %}{% endblock %}",
        "child.html": "{% extends 'base.html' %}{% load django_sse %}"
        "{% block head %}{% event_source_script %}{% endblock %}"
        "{% block body %}{% event_source 'plain' %}{% include 'source.html' %}"
        "{% include 'source.html' only %}{% endblock %}",
        "grandchild.html": "{% extends 'child.html' %}{% load django_sse %}"
        "{% block body %}{{ block.super }}{% event_source 'plain' %}{% endblock %}",
        "includes.html": "{% include 'source.html' %}{% include 'source.html' %}"
        "{% include 'source.html' only %}",
        "late.html": "{% load django_sse %}{% event_source 'plain' %}{% event_source_script %}",
    },
    "jinja": {
        "head.html": "{{ event_source_script() }}",
        "source.html": "{{ event_source('plain') }}",
        "base.html": "<head>{% block head %}{% endblock %}</head>{% block body %}{% endblock %}",
        "child.html": "{% extends 'base.html' %}"
        "{% block head %}{{ event_source_script() }}{% endblock %}"
        "{% block body %}{{ event_source('plain') }}{% include 'source.html' %}"
        "{% with x = 1 %}{% include 'source.html' %}{% endwith %}{% endblock %}",
        "grandchild.html": "{% extends 'child.html' %}"
        "{% block body %}{{ super() }}{{ event_source('plain') }}{% endblock %}",
        "includes.html": "{% include 'source.html' %}{% include 'source.html' %}"
        "{% for x in [1, 2] %}{% include 'source.html' %}{% endfor %}",
        "late.html": "{{ event_source('plain') }}{{ event_source_script() }}",
    },
}


@pytest.fixture(autouse=True)
def _site(settings: Any) -> None:
    settings.ROOT_URLCONF = Urls
    settings.STATIC_URL = "/static/"
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [("django.template.loaders.locmem.Loader", TEMPLATES["django"])],
            },
        },
        {
            "BACKEND": "django.template.backends.jinja2.Jinja2",
            "OPTIONS": {
                "environment": "jinja2.Environment",
                "extensions": ["django_sse.jinja.EventSourceExtension"],
                "loader": jinja2.DictLoader(TEMPLATES["jinja"]),
            },
        },
    ]


class Engine:
    """One of the two, written to as the other is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.backend = engines["django" if name == "django" else "jinja2"]

    def source(self, tag: str, arguments: str = "") -> str:
        """Return a call of *tag* in the engine's own words; arguments as in a Django template."""
        if self.name == "django":
            return f"{{% load django_sse %}}{{% {tag} {arguments} %}}"
        separated = ", ".join(re.findall(r"(?:[^ ']|'[^']*')+", arguments))
        return f"{{{{ {tag}({separated}) }}}}"

    def render(
        self,
        tag: str,
        arguments: str = "",
        context: Mapping[str, Any] | None = None,
        request: Any = None,
    ) -> str:
        made = self.backend.from_string(self.source(tag, arguments))
        return str(made.render(dict(context or {}), request))

    def element(self, arguments: str, **options: Any) -> dict[str, str]:
        """Return the attributes of the element that the tag renders."""
        html = self.render("event_source", arguments, **options)
        found = re.fullmatch(re.escape(SCRIPT) + r"<event-source(.*)></event-source>", html)
        assert found is not None, html
        return {
            name: unescaped(value) for name, value in re.findall(r' ([\w-]+)="([^"]*)"', found[1])
        }


def unescaped(text: str) -> str:
    return text.replace("&amp;", "&").replace("&lt;", "<").replace("&quot;", '"')


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@pytest.fixture(params=["django", "jinja"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return Engine(request.param)


@pytest.fixture
def request_() -> Any:
    return visit()


def visit(url: str = "/page/", user: Any = None) -> Any:
    request: Any = RequestFactory().get(url)
    request.user = user or AnonymousUser()
    return request


class TestElement:
    def test_it_and_its_script(self, engine):
        """One line of a template is the whole of a live page."""
        html = engine.render("event_source", "'order-events' 7")
        assert html == f'{SCRIPT}<event-source src="/plain/7/"></event-source>'

    def test_arguments_by_position_and_by_name(self, engine):
        """As those of `url`; what is no attribute is the URL's."""
        assert engine.element("'order-events' 7") == {"src": "/plain/7/"}
        assert engine.element("'order-events' pk=7") == {"src": "/plain/7/"}

    def test_attributes(self, engine):
        """By their names with underscores; of what is false or None there is none."""
        arguments = (
            "'plain' events='a, b' target='#x' swap='beforeend' parse='text' reload_url='/r/'"
            " shared=yes transport='fetch' pause_hidden=no poll=5 with_credentials=none id='s'"
            " class='live' data_x=1 aria_live='polite'"
        )
        context = {"yes": True, "no": False, "none": None}
        assert engine.element(arguments, context=context) == {
            "src": "/plain/",
            "events": "a, b",
            "target": "#x",
            "swap": "beforeend",
            "parse": "text",
            "reload-url": "/r/",
            "shared": "",
            "transport": "fetch",
            "poll": "5",
            "id": "s",
            "class": "live",
            "data-x": "1",
            "aria-live": "polite",
        }

    def test_a_flag_that_the_template_does_not_have(self, engine):
        """It is no, as in `if`."""
        arguments = "'plain' shared=missing pause_hidden=missing with_credentials=missing"
        assert engine.element(arguments) == {"src": "/plain/"}

    def test_a_list_of_events(self, engine):
        """From a view's context."""
        assert engine.element("'plain' events=names", context={"names": ["a", "b"]}) == {
            "src": "/plain/",
            "events": "a b",
        }

    def test_everything_is_escaped(self, engine):
        """A value cannot leave its attribute, though its author calls it safe as text."""
        evil = '"><script>alert(1)</script>'
        for value in (evil, mark_safe(evil)):
            html = engine.render("event_source", "'plain' data_x=evil", {"evil": value})
            assert html.endswith(
                f'<event-source src="/plain/" data-x="{escape(evil)}"></event-source>'
            )

    def test_a_literal_is_escaped(self, engine):
        """Django's templates take theirs for safe."""
        attributes = engine.element("""'plain' swap='a: innerHTML [data-x="y"] > b'""")
        assert attributes["swap"].replace("&gt;", ">") == 'a: innerHTML [data-x="y"] > b'
        assert engine.element("'plain' data_x='a&amp;b'")["data-x"] == "a&amp;b"

    def test_the_request_decides_between_namespaces(self, engine):
        """As it does for `url`."""
        request = visit()
        assert engine.element("'app:x'", request=request)["src"] == "/other/x/"
        request.current_app = "one"
        assert engine.element("'app:x'", request=request)["src"] == "/app/x/"


class TestShared:
    @pytest.mark.django_db
    def test_with_readers_of_one_login(self, engine):
        """Its value differs from user to user, and from nobody's, which is empty."""
        ada, bob = (visit(user=User.objects.create_user(name)) for name in ("ada", "bob"))
        arguments, on = "'plain' shared=on", {"on": True}
        values = [
            engine.element(arguments, context=on, request=request)["shared"]
            for request in (ada, ada, bob, visit(), None)
        ]
        assert values[0] == values[1] == bindings_of(ada)[0]
        assert values[2] == bindings_of(bob)[0] != values[0]
        assert values[3:] == ["", ""]

    def test_it_alone_reads_the_login(self, engine):
        """A page that shares nothing depends on nobody."""
        request = visit()
        request.session = SessionStore()
        request.session.accessed = False
        for sharing in (False, None):
            engine.element("'plain' shared=on", context={"on": sharing}, request=request)
            assert not request.session.accessed
        attributes = engine.element("'plain' shared=on", context={"on": True}, request=request)
        assert attributes["shared"] == ""
        assert request.session.accessed

    async def test_on_an_event_loop_the_user_must_be_known(self, engine, transactional_db):
        """Shared with whom cannot be guessed; the error says what to do."""
        request = visit()
        request.user = SimpleLazyObject(_not_here)
        with pytest.raises(SynchronousOnlyOperation, match=r"shared=True needs .* request\.auser"):
            engine.render("event_source", "'plain' shared=on", {"on": True}, request)
        request._acached_user = AnonymousUser()  # As request.auser() leaves it.
        assert ' shared=""' in engine.render(
            "event_source", "'plain' shared=on", {"on": True}, request
        )


def _not_here() -> Any:
    raise SynchronousOnlyOperation


class TestScript:
    @pytest.mark.parametrize(
        ("name", "sources"),
        [
            ("source.html", 1),
            ("head.html", 0),
            ("child.html", 3),
            ("grandchild.html", 4),
            ("includes.html", None),
            ("late.html", 1),
        ],
    )
    @pytest.mark.parametrize("with_request", [True, False])
    def test_once_a_render(self, engine, name, sources, with_request):
        """However many elements, includes and parents; one in the head is enough."""
        made = engine.backend.get_template(name)
        request = visit() if with_request else None
        for _ in range(2):  # A second page of the same request has it again.
            html = made.render({}, request)
            assert html.count("<script") == 1
            if sources is not None:
                assert html.count("<event-source") == sources
            if "child" in name:
                assert f"<head>{SCRIPT}</head>" in html

    def test_in_an_inclusion_tag(self):
        """It renders with a context of its own, of the same page."""
        library = django_template.Library()

        @library.inclusion_tag("source.html")
        def source() -> dict[str, object]:
            return {}

        backend: Any = engines["django"]
        engine = backend.engine
        engine.template_libraries["ours"] = library
        made = engine.from_string("{% load ours %}{% source %}{% source %}")
        assert made.render(Context()).count("<script") == 1

    def test_the_url_is_that_of_the_static_files(self, engine, settings):
        """With the hash that their storage gives them."""
        settings.STATIC_URL = "https://cdn.example/s/"
        html = engine.render("event_source_script")
        assert html == SCRIPT.replace("/static/", "https://cdn.example/s/")

    def test_with_debug_it_is_the_modules_as_they_are_written(self, engine, settings):
        """A browser's console shows what somebody can read."""
        settings.DEBUG = True
        html = engine.render("event_source_script")
        assert html == ('<script type="module" src="/static/django_sse/event-source.js"></script>')

    def test_nonce_of_the_context(self, engine):
        """As the context processors of Django and of django-csp give it."""
        html = engine.render("event_source_script", context={"csp_nonce": 'a"b'})
        assert html.endswith(' nonce="a&quot;b"></script>')

    def test_nonce_of_django_csp(self, engine):
        """On the request."""
        request = visit()
        request.csp_nonce = "abc"
        html = engine.render("event_source", "'plain'", request=request)
        assert '.js" nonce="abc"></script>' in html

    def test_nonce_of_django(self, engine):
        """It is made when it is first asked for: until then it is false."""
        csp = pytest.importorskip("django.middleware.csp", reason="of Django 6.0")
        request = visit()
        csp.ContentSecurityPolicyMiddleware(lambda request: None).process_request(request)
        html = engine.render("event_source_script", request=request)
        assert f' nonce="{csp.get_nonce(request)}"' in html

    def test_without_a_nonce(self, engine):
        """There is no empty one."""
        html = engine.render("event_source_script", context={"csp_nonce": ""}, request=visit())
        assert html == SCRIPT


class TestGroups:
    def test_a_signed_url(self, engine, request_):
        """With the address of its renewal, and when to ask there."""
        attributes = engine.element("groups='orders, news'", request=request_)
        assert sorted(attributes) == ["renew-after", "renew-url", "src"]
        assert attributes["renew-after"] == "240"
        src, renewal = str(attributes["src"]), str(attributes["renew-url"])
        assert (urlsplit(src).path, urlsplit(renewal).path) == ("/sse/", "/sse/token/")
        assert query_of(src) == query_of(renewal)
        token = read_token(query_of(src)["token"], max_age_seconds=300)
        assert token == ("", ("orders", "news"))

    def test_a_list_of_names(self, engine, request_):
        """As a view has them: a name may hold anything."""
        names = {"names": ["a,b", "c d"]}
        src = str(engine.element("groups=names", context=names, request=request_)["src"])
        token = read_token(query_of(src)["token"], max_age_seconds=300)
        assert token is not None
        assert token.groups == ("a,b", "c d")

    def test_a_safe_string(self, engine, request_):
        """A name is text, whatever a template engine makes of it."""
        names = {"name": mark_safe("orders")}
        src = str(engine.element("groups=name", context=names, request=request_)["src"])
        assert read_token(query_of(src)["token"], max_age_seconds=300) == ("", ("orders",))

    def test_a_lazy_string(self, engine, request_):
        """It has commas as any string."""
        names = {"names": lazystr("a,b")}
        src = str(engine.element("groups=names", context=names, request=request_)["src"])
        assert read_token(query_of(src)["token"], max_age_seconds=300) == ("", ("a", "b"))

    def test_no_polling(self, engine, request_):
        """The stream of groups has no other answer; beside the name of a URL, a view may have."""
        with pytest.raises(
            ValueError, match=r"^poll=5 was given with groups=, .* leave poll= out"
        ):
            engine.render("event_source", "groups='a' poll=5", request=request_)
        assert engine.element("'plain' groups='a' poll=5") == {"src": "/plain/", "poll": "5"}

    @pytest.mark.django_db
    def test_the_token_is_the_users(self, engine):
        """Of the page's request."""
        ada = User.objects.create_user("ada")
        src = str(engine.element("groups='a'", request=visit(user=ada))["src"])
        token = read_token(query_of(src)["token"], max_age_seconds=300)
        assert token is not None
        assert token.binding

    def test_without_a_request(self, engine):
        """There is nobody to bind it to."""
        with pytest.raises(ImproperlyConfigured, match=r"groups=\['a'\] needs the request"):
            engine.render("event_source", "groups='a'")

    def test_without_the_urls(self, engine, request_, settings):
        """The error says what to add."""
        settings.ROOT_URLCONF = "tests.urls"
        with pytest.raises(ImproperlyConfigured, match="needs the URLs of django_sse"):
            engine.render("event_source", "groups='a'", request=request_)

    def test_bad_names_and_too_many(self, engine, request_, settings):
        """They are told where they are written."""
        with pytest.raises(InvalidGroup, match="at least one character"):
            engine.render("event_source", "groups='a,,b'", request=request_)
        settings.DJANGO_SSE = {"MAX_GROUPS": 1}
        with pytest.raises(InvalidGroup, match="MAX_GROUPS"):
            engine.render("event_source", "groups='a,b'", request=request_)

    async def test_on_an_event_loop_the_user_must_be_known(self, engine, sync, transactional_db):
        """One that is not loaded is told how to be."""
        from django.contrib.auth.middleware import AuthenticationMiddleware
        from django.contrib.sessions.backends.db import SessionStore

        session = SessionStore()
        await session.aset("cart", 1)
        await session.asave()
        request = visit()
        request.session = SessionStore(session.session_key)
        AuthenticationMiddleware(lambda request: None).process_request(request)  # type: ignore[arg-type]
        with pytest.raises(SynchronousOnlyOperation, match=r"await request\.auser\(\) before"):
            engine.render("event_source", "groups='a'", request=request)
        await request.auser()
        assert "token=" in engine.render("event_source", "groups='a'", request=request)


@pytest.mark.history
class TestLastEventId:
    @pytest.fixture
    def here(self) -> Callable[..., str]:
        """Return a function of groups that publishes to them, and returns the id behind that."""

        def publish_to(*groups: str) -> str:
            for group in groups:
                publish(group, "x")
            id = get_last_event_id(*groups)
            assert id is not None
            return id

        return publish_to

    @pytest.mark.parametrize("name", ["static", "attribute"])
    @pytest.mark.parametrize("with_request", [True, False])
    def test_of_groups_by_name(self, engine, here, name, with_request):
        """Those that the view is decorated with, beneath decorators; no request is needed."""
        id = here("orders", "news")
        request = visit() if with_request else None
        assert engine.element(f"'{name}'", request=request)["last-event-id"] == id

    def test_of_initkwargs(self, engine, here):
        """What as_view() is given goes before the class's own."""
        id = here("own")
        assert engine.element("'initkwargs'")["last-event-id"] == id

    @pytest.mark.parametrize("name", ["called", "quoted"])
    def test_of_a_function(self, engine, here, name):
        """It is called with the page's request and the URL's arguments."""
        id = here("order.7.1")
        attributes = engine.element(f"'{name}' 7", request=visit("/page/?x=1"))
        assert attributes["last-event-id"] == id

    def test_of_a_method(self, engine, here):
        """The view is made for it as for a request of its own."""
        id = here("o.7.1")
        attributes = engine.element("'method' 7", request=visit("/page/?x=1"))
        assert attributes["last-event-id"] == id

    @pytest.mark.django_db
    def test_of_an_instance(self, engine, here):
        """A model parameter is looked up, as for a stream, and an async function is awaited."""
        Room.objects.create(slug="r", name="den")
        id = here("room.den")
        assert engine.element("'room' 'r'", request=visit())["last-event-id"] == id

    @pytest.mark.parametrize("name", ["called", "method"])
    def test_of_a_function_without_a_request(self, engine, name):
        """The error says what is missing."""
        with pytest.raises(ImproperlyConfigured, match="are a function of the request"):
            engine.render("event_source", f"'{name}' 7")
        html = engine.render("event_source", f"'{name}' 7 last_event_id='x'")
        assert 'last-event-id="x"' in html

    def test_of_groups_that_the_template_names(self, engine, here):
        """Where a handler subscribes by itself; the URL is its own, without a token."""
        id = here("b", "a")
        attributes = engine.element("'plain' groups='a,b'")
        assert attributes == {"src": "/plain/", "last-event-id": id}

    @pytest.mark.parametrize("arguments", ["'plain'", "'page'", "'ghost' 'x'"])
    def test_of_a_view_that_tells_none(self, engine, arguments):
        """There is none."""
        assert "last-event-id" not in engine.element(arguments)

    def test_of_signed_groups(self, engine, here):
        """Those of the token."""
        id = here("a", "b")
        assert engine.element("groups='b,a'", request=visit())["last-event-id"] == id

    def test_of_a_url_below_a_prefix(self, engine, here):
        """A project may be served below one."""
        id = here("orders", "news")
        set_script_prefix("/below/")
        try:
            attributes = engine.element("'static'")
        finally:
            set_script_prefix("/")
        assert attributes == {"src": "/below/static/", "last-event-id": id}

    def test_noted_by_the_view(self, engine, here):
        """It is taken as it is, and None for none; a name that is not there is no answer."""
        id = here("orders", "news")
        arguments = "'static' last_event_id=noted"
        assert engine.element(arguments, context={"noted": "n"})["last-event-id"] == "n"
        for noted in (None, False):
            assert "last-event-id" not in engine.element(arguments, context={"noted": noted})
        assert engine.element(arguments)["last-event-id"] == id

    def test_without_a_store(self, engine, settings):
        """There is none."""
        settings.DJANGO_SSE = {"STORE": None}
        assert engine.element("'static'") == {"src": "/static/"}

    @pytest.mark.parametrize("name", ["static", "called", "method"])
    async def test_on_an_event_loop(self, engine, name):
        """The error says what to do; both of its ways work."""
        arguments = "'static'" if name == "static" else f"'{name}' 7"
        await apublish("orders", "x")
        with pytest.raises(SynchronousOnlyOperation, match="await aget_last_event_id"):
            engine.render("event_source", arguments, request=visit())
        noted = await aget_last_event_id("orders")
        context = {"noted": noted}
        html = engine.render("event_source", f"{arguments} last_event_id=noted", context)
        assert f'last-event-id="{noted}"' in html
        render = sync_to_async(engine.render)
        assert "last-event-id=" in await render("event_source", arguments, request=visit())


class TestUrl:
    @pytest.mark.history
    def test_with_its_id(self, engine):
        """For htmx, and for code of one's own."""
        publish("orders", "x")
        url = unescaped(engine.render("event_source_url", "'static'"))
        assert urlsplit(url).path == "/static/"
        assert query_of(url) == {"last_event_id": get_last_event_id("orders", "news")}

    @pytest.mark.history
    def test_of_groups(self, engine):
        """With a token as well; it stands in an attribute as it is rendered."""
        rendered = engine.render("event_source_url", "groups='a'", request=visit())
        assert "&amp;last_event_id=" in rendered
        assert sorted(query_of(unescaped(rendered))) == ["last_event_id", "token"]

    def test_without_an_id(self, engine):
        """It is the URL alone."""
        assert engine.render("event_source_url", "'order-events' pk=7") == "/plain/7/"

    def test_its_keywords_are_the_urls(self, engine):
        """It has no attributes."""
        with pytest.raises(NoReverseMatch, match=r"'target'"):
            engine.render("event_source_url", "'plain' target='#x'")

    def test_as_a_variable(self):
        """It can be kept for later."""
        source = "{% load django_sse %}{% event_source_url 'plain' as url %}[{{ url }}]"
        assert Template(source).render(Context()) == "[/plain/]"


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("", r"event_source was given no URL, and groups=None; give the name of a stream's"),
            ("groups=''", r"event_source was given no URL, and groups=''"),
            ("swap='morph'", r"event_source was given no URL"),
            ("'plain' swap='prepend'", r"^swap='prepend' must be one of innerHTML, .*, or rules"),
            ("'plain' swap='a: prepend #x'", r"^swap='a: prepend #x' must be one of"),
            ("'plain' shared='yes'", r"^shared='yes' must be True or False\.$"),
            ("'plain' target=''", r"^target='' must be a CSS selector\.$"),
            ("'plain' events=numbers", r"^events=\[1\] must be names of events"),
        ],
    )
    def test_the_error_names_the_value_the_rule_and_the_fix(
        self, engine, request_, arguments, message
    ):
        """Whoever writes a template reads what to change."""
        with pytest.raises(ValueError, match=message):
            engine.render("event_source", arguments, {"numbers": [1]}, request_)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("groups='a' targt='#x'", r"groups='a'.* 'targt'; did you mean 'target'\?"),
            ("groups='a' pk=7", r"groups='a'.* the keyword 'pk'; the attributes are events"),
            (
                "'order-events' 7 targte='#x'",
                r"'order-events'.* 'targte'; did you mean 'target'\?",
            ),
            ("'order-events' 7 style='x'", r"'style'; give the element a class"),
            ("'order-events' 7 src='/x/'", r"'src'; the tag writes it"),
            ("'order-events' 7 state='open'", r"'state'; the element writes it"),
        ],
    )
    def test_a_keyword_that_can_be_no_argument(self, engine, request_, arguments, message):
        """Beside groups, or arguments by position; the error says what it may have meant."""
        with pytest.raises(TemplateSyntaxError, match=message):
            engine.render("event_source", arguments, request=request_)

    def test_a_keyword_beside_positions_of_a_url(self, engine):
        """The other tag has no attributes at all."""
        with pytest.raises(TemplateSyntaxError, match=r"'target'; it renders no element"):
            engine.render("event_source_url", "'order-events' 7 target='#x'")

    def test_an_unknown_url(self, engine):
        """Django's own error."""
        with pytest.raises(NoReverseMatch, match="Reverse for 'nowhere' not found"):
            engine.render("event_source", "'nowhere'")

    def test_a_typo_that_looks_like_an_argument(self, engine):
        """The error says how it was taken, and what it may have meant."""
        with pytest.raises(NoReverseMatch, match=r"'targt'; did you mean 'target'\?"):
            engine.render("event_source", "'plain' targt='#x'")

    def test_the_script_takes_no_arguments(self, engine):
        """A mistake shows as any of its engine."""
        with pytest.raises((TemplateSyntaxError, TypeError)):
            engine.render("event_source_script", "'plain'")


def test_an_undefined_variable_names_no_groups(engine: Engine, request_: Any) -> None:
    """Neither engine raises by itself; the tag does."""
    with pytest.raises(ValueError, match="was given no URL"):
        engine.render("event_source", "groups=missing", request=request_)


def test_jinja_extension_is_bound_to_its_environment() -> None:
    """Another environment has nothing of it, and one that has it twice has it once."""
    path_ = "django_sse.jinja.EventSourceExtension"
    with_it = jinja2.Environment(extensions=[path_])
    assert "event_source" not in jinja2.Environment().globals
    assert {"event_source", "event_source_url", "event_source_script"} <= set(with_it.globals)
    overlay = with_it.overlay(extensions=[path_])
    html = overlay.from_string("{{ event_source('plain') }}{{ event_source('plain') }}").render()
    assert html.count("<script") == 1


def test_jinja_escapes_nothing_twice() -> None:
    """With autoescape or without, the element is as it is."""
    for autoescape in (True, False):
        environment = jinja2.Environment(
            autoescape=autoescape, extensions=["django_sse.jinja.EventSourceExtension"]
        )
        html = environment.from_string("{{ event_source('plain', target='a > b') }}").render()
        assert html == f'{SCRIPT}<event-source src="/plain/" target="a &gt; b"></event-source>'
