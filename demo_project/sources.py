"""The source of each page: which files make it, and what of them makes it live."""

import re
from typing import NamedTuple

from django.conf import settings

from demo_project.highlighting import Piece, highlight

#: What is shown beneath each page, its template first. No other file is ever read.
SOURCES: dict[str, dict[str, str]] = {
    "home": {
        "templates/base.html": "Every page has the lobby's stream, and all tabs share it.",
        "demo_project/broadcast/receivers.py": "Signals tell how many streams are open.",
        "templates/broadcast/_open_streams.html": "What the page and the event are made of.",
    },
    "metrics:page": {
        "templates/metrics/page.html": "The page. Its stream rests while nobody looks.",
        "demo_project/metrics/views.py": "The stream: an async generator.",
        "demo_project/static/demo/metrics.js": "Each event is a DOM event, which the charts hear.",
    },
    "builds:page": {
        "templates/builds/page.html": "The page.",
        "demo_project/builds/views.py": "Its stream is all that comes in one group.",
        "demo_project/builds/runner.py": "A thread compiles, and publishes as it goes.",
        "demo_project/static/demo/builds.js": "Each event is a DOM event with its data, parsed.",
    },
    "builds:build": {
        "templates/builds/build.html": "The page. Where no stream comes through, it asks.",
        "demo_project/builds/views.py": "One view: a stream, or the first value as JSON.",
        "demo_project/builds/runner.py": "A thread compiles, and publishes line by line.",
        "demo_project/static/demo/build.js": "What the page does with each line.",
    },
    "board:page": {
        "templates/board/page.html": "The page, and what an event does to it.",
        "demo_project/board/receivers.py": "Whoever saves: it is published after the commit.",
        "templates/board/_announcement.html": "What the page and the event are made of.",
        "demo_project/board/views.py": "The stream is a class of two lines.",
    },
    "inbox:page": {
        "templates/inbox/page.html": "The page, and where a new note goes.",
        "demo_project/inbox/views.py": "The stream: whose it is, and who may read it.",
        "demo_project/inbox/sse.py": "What is published of a note, and to whom.",
        "templates/inbox/_note.html": "What the page and the event are made of.",
    },
    "inbox:staff": {
        "templates/inbox/staff.html": "The page, and where a new row goes.",
        "demo_project/inbox/views.py": "The stream, with its guard.",
        "demo_project/inbox/sse.py": "What the staff is told of a note, and what not.",
        "templates/inbox/_traffic.html": "What the page and the event are made of.",
    },
    "orders:page": {
        "templates/orders/page.html": "The page. The tag names a group: no view is needed.",
        "demo_project/orders/sse.py": "What is published of an order, whoever saves it.",
        "templates/orders/_order.html": "What the page and the event are made of.",
        "demo_project/orders/views.py": "An ordinary list: it knows of no stream.",
    },
    "presence:order": {
        "templates/presence/order.html": "The page, and what each event does to it.",
        "demo_project/presence/views.py": "The stream: who is there, then who comes and goes.",
        "demo_project/presence/people.py": "From the keys that the registry has to people.",
        "templates/presence/_viewers.html": "What the page and the events are made of.",
        "demo_project/orders/sse.py": "What is published of an order, whoever saves it.",
    },
    "broadcast:page": {
        "templates/base.html": "Every page has the lobby's stream, and all tabs share it.",
        "demo_project/broadcast/views.py": "One call reaches every stream there is.",
        "demo_project/static/demo/broadcast.js": "It comes as a DOM event.",
        "demo_project/broadcast/receivers.py": "Signals tell how many streams are open.",
    },
}
SOURCES["board:write"] = SOURCES["board:edit"] = {
    "templates/board/form.html": "A form as any other.",
    "demo_project/board/receivers.py": "Whoever saves: it is published after the commit.",
}

_TAG = re.compile(r"\{% event_source (?!_).*?%\}")
_LIVE = re.compile(
    r"\{% event_source|\b(?:django_sse|event_stream|EventStreamView|ModelPublisher|register"
    r"|subscribe|a?publish|a?connections|broadcast|ServerSentEvent|stream_(?:opened|closed))\b"
    r"|\baddEventListener\("
)


class Line(NamedTuple):
    """A line of a file, in pieces, and whether it has to do with a stream."""

    pieces: list[Piece]
    is_live: bool


class Source(NamedTuple):
    """A file as it is on the disk now."""

    path: str
    about: str
    text: str

    @property
    def lines(self) -> list[Line]:
        suffix = self.path[self.path.rindex(".") :]
        # What a comment, a string or the text of a template says of a stream is not one.
        code = {"tag"} if suffix == ".html" else {"", "tag"}
        return [
            Line(pieces, any(_LIVE.search(text) for kind, text in pieces if kind in code))
            for pieces in highlight(self.text, suffix)
        ]

    @property
    def tags(self) -> list[str]:
        """The tags that open a stream, as a template has them."""
        return _TAG.findall(self.text)


def sources_of(page: str) -> list[Source]:
    """Return the files of *page*, the name of its URL; none for a page that is not one's own."""
    return [
        Source(path, about, settings.BASE_DIR.joinpath(path).read_text())
        for path, about in SOURCES.get(page, {}).items()
    ]
