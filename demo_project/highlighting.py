"""A little colour for source code: Python, templates and scripts."""

import keyword
import re
from collections.abc import Iterable, Iterator

_STRING = r'(?P<string>"""(?:.|\n)*?"""|[rbf]?"(?:\\.|[^"\\\n])*"|`[^`]*`)'
_SCRIPT_WORDS = "async await catch class const else export for from function if import let new of"
_SCRIPT_WORDS += " return try while"


def _language(comment: str, words: Iterable[str], *more: str) -> re.Pattern[str]:
    keywords = rf"(?P<keyword>\b(?:{'|'.join(words)})\b)"
    return re.compile("|".join([rf"(?P<comment>{comment})", *more, _STRING, keywords]))


_LANGUAGES = {
    ".py": _language(r"#[^\n]*", keyword.kwlist, r"(?P<tag>@\w+)"),
    ".js": _language(r"//[^\n]*", _SCRIPT_WORDS.split()),
    ".html": re.compile(
        r"(?P<comment>\{#.*?#\})|(?P<tag>\{%.*?%\}|\{\{.*?\}\})"
        r"|(?P<keyword></?[a-z][a-z0-9-]*|(?<=[\"a-z0-9])/?>)"
    ),
}

#: A kind, empty for what has no colour, and the text as it stands there.
Piece = tuple[str, str]


def highlight(text: str, suffix: str) -> Iterator[list[Piece]]:
    """Yield the lines of *text*, each as its pieces; the suffix of its file tells the language."""
    line: list[Piece] = []
    for kind, piece in _pieces(text, _LANGUAGES[suffix]):
        first, *others = piece.split("\n")
        line.append((kind, first))
        for other in others:
            yield line
            line = [(kind, other)]
    if any(piece for _, piece in line):
        yield line


def _pieces(text: str, language: re.Pattern[str]) -> Iterator[Piece]:
    end = 0
    for found in language.finditer(text):
        yield "", text[end : found.start()]
        yield found.lastgroup or "", found[0]
        end = found.end()
    yield "", text[end:]
