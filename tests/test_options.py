"""The options of an event-stream view."""

import pytest

from django_sse.options import StreamOptions, make_options


def guard(request):
    return True


class TestMakeOptions:
    def test_defaults(self):
        """Without options a view is a GET for pages of this site, with the settings' times."""
        assert make_options({}) == StreamOptions()
        options = make_options({})
        assert options.methods == ("GET",)
        assert (options.heartbeat, options.retry, options.max_duration) == (None, None, None)

    def test_all_options(self):
        """Each option is kept as it is given."""
        given = {
            "groups": ["a", "b"],
            "progressive": True,
            "guard": guard,
            "recheck": 30,
            "heartbeat": 0.5,
            "retry": 0,
            "max_duration": 3600,
            "methods": ["GET", "POST"],
            "allowed_origins": ["https://a.example", "http://b.example:8000"],
            "lookups": {"room": "slug"},
        }
        options = make_options(given)
        assert {name: getattr(options, name) for name in given} == {**given, "groups": ("a", "b")}

    def test_unknown_option_with_a_near_one(self):
        """A typo is answered with the name that was meant."""
        with pytest.raises(TypeError, match=r"no option 'max_duraton' .*; did you mean 'max_dur"):
            make_options({"max_duraton": 5})

    def test_unknown_option(self):
        """Anything else with the list of the options."""
        with pytest.raises(TypeError, match=r"no option 'xyz' .*; the options are groups, .*look"):
            make_options({"xyz": 5})

    @pytest.mark.parametrize(
        ("given", "error", "message"),
        [
            ({"guard": True}, TypeError, "guard=True must be a function of the request"),
            ({"recheck": 5}, ValueError, "recheck=5 needs a guard= to call"),
            ({"recheck": 0, "guard": guard}, ValueError, "recheck=0 must be a number of seconds"),
            ({"heartbeat": 0}, ValueError, "heartbeat=0 must be a number of seconds above 0"),
            ({"heartbeat": "15"}, ValueError, "heartbeat='15' must be a number of seconds"),
            ({"heartbeat": True}, ValueError, "heartbeat=True must be a number of seconds"),
            ({"max_duration": -1}, ValueError, "max_duration=-1 must be a number of seconds"),
            ({"retry": -1}, ValueError, "retry=-1 must be a whole number of milliseconds"),
            ({"retry": 1.5}, ValueError, "retry=1.5 must be a whole number of milliseconds"),
            ({"methods": "GET"}, TypeError, r"methods='GET' must be a list such as \['GET'"),
            ({"methods": []}, TypeError, r"methods=\[\] must be a list"),
            ({"methods": ["get"]}, ValueError, "methods has 'get'; the methods are GET, POST"),
            ({"methods": ["HEAD"]}, ValueError, "methods has 'HEAD'; the methods are GET"),
            (
                {"allowed_origins": "https://a.example"},
                TypeError,
                "allowed_origins='https://a.example' must be a list of strings",
            ),
            (
                {"allowed_origins": ["https://a.example/"]},
                ValueError,
                "allowed_origins has 'https://a.example/'; an origin is a scheme and a host",
            ),
            ({"allowed_origins": ["a.example"]}, ValueError, "allowed_origins has 'a.example'"),
            ({"allowed_origins": [5]}, ValueError, "allowed_origins has 5; an origin is"),
            ({"groups": 5}, ValueError, "Group 5 is a int; pass a string"),
            ({"groups": ["a", 5]}, ValueError, "Group 5 must be a string of at least one"),
        ],
    )
    def test_value_that_breaks_a_rule(self, given, error, message):
        """The message names the option, the value and the rule."""
        with pytest.raises(error, match=message):
            make_options(given)

    def test_groups_of_an_iterator(self):
        """Names that can be read once are read once, not by the first request alone."""
        options = make_options({"groups": (name for name in ("a", "b", "a"))})
        assert options.groups == ("a", "b")


class TestOrigins:
    def test_default_is_the_setting(self, settings):
        """Without an option the setting holds, as it is when it is asked for."""
        options = make_options({})
        assert tuple(options.origins) == ()
        settings.DJANGO_SSE = {"ALLOWED_ORIGINS": ["https://a.example"]}
        assert tuple(options.origins) == ("https://a.example",)

    def test_own_list_is_instead_of_the_setting(self, settings):
        """An empty list allows none, whatever the setting says."""
        settings.DJANGO_SSE = {"ALLOWED_ORIGINS": ["https://a.example"]}
        assert tuple(make_options({"allowed_origins": []}).origins) == ()
