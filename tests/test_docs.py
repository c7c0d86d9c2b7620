"""The documentation, held against the code: its tables, its links, and its examples."""

import ast
import contextlib
import dataclasses
import html
import inspect
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

import django_sse
from django_sse import exceptions, signals
from django_sse.conf import Settings
from django_sse.metrics import Metrics
from django_sse.options import StreamOptions
from django_sse.reasons import CloseReason
from django_sse.stores.base import BaseStore
from django_sse.stores.database import DatabaseStore
from django_sse.stores.memory import MemoryStore
from django_sse.stores.redis import RedisStore
from tests.services import free_port, require_node
from tests.test_layers_of_imports import LAYERS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
TUTORIAL = DOCS / "tutorial.md"
PAGES = sorted(
    [*ROOT.glob("*.md"), *(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]
)
SCRIPTED = [page for page in PAGES if '<script type="module">' in page.read_text()]
EXECUTED = [README, *(path for path in PAGES if DOCS in path.parents)]

SOURCES = sorted((ROOT / "django_sse").rglob("*.py"))

START_SECONDS = 120
EVENT_SECONDS = 60


def name_of(value: Any) -> str | None:
    """Return the name of a page for a test's id."""
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else None


# Reading Markdown.


class Block(NamedTuple):
    """A fenced block of code."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The path of the project's file that the block's first line names."""
        found = re.match(r"(?:# |// |\{# )([\w/]+\.\w+)(?: #\})?\n", self.text)
        return found and found[1]


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of *page*."""
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])
        for found in re.finditer(r"^```([\w{}-]*)[^\n]*\n(.*?)^```$", text, re.M | re.S)
    ]


def python_blocks() -> list[Any]:
    return [
        pytest.param(block, id=f"{page.relative_to(ROOT)}:{block.line}")
        for page in PAGES
        for block in blocks_of(page)
        if block.language == "python"
    ]


def prose_of(page: Path) -> str:
    """Return the page without its blocks and its code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def table(page: str, heading: str, section: str = "") -> list[list[str]]:
    """Return the rows of the first table behind *section* whose first column has *heading*."""
    lines = (DOCS / page).read_text().partition(section or "# ")[2].splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows]


def code(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


# The reference.


def test_settings_reference_names_every_setting_and_its_default() -> None:
    """A key is in the table, with its default as it is written in Python."""
    documented = {
        code(row[0])[0]: ast.literal_eval(code(row[2])[0])
        for row in table("reference/settings.md", "key")
    }
    actual = {field.name.upper(): field.default for field in dataclasses.fields(Settings)}
    assert documented == actual


def test_settings_reference_gives_a_unit_with_each_setting() -> None:
    """The unit agrees with the key's name."""
    for row in table("reference/settings.md", "key"):
        for ending, unit in (("SECONDS", "seconds"), ("MS", "milliseconds"), ("BYTES", "bytes")):
            if code(row[0])[0].endswith(f"_{ending}"):
                assert row[1].startswith(unit)
        assert row[1]


def test_checks_reference_names_every_check_and_its_level() -> None:
    """An id is in the table, and nothing else; those of ``--deploy`` are marked."""
    documented = sorted((code(row[0])[0], row[1]) for row in table("reference/checks.md", "id"))
    assert documented == sorted(check for path in SOURCES for check in checks_in(path))


def checks_in(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the id and the level of each message of a check that *path* makes."""
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    ids = {
        str(keyword.value.value): (function, call)
        for function in functions
        for call in calls_in(function)
        for keyword in call.keywords
        if keyword.arg == "id" and isinstance(keyword.value, ast.Constant)
    }
    for number, (function, call) in ids.items():
        level = "error" if ast.unparse(call.func).endswith("Error") else "warning"
        assert number.startswith(f"django_sse.{level[0].upper()}")
        is_deploy = any("deploy=True" in ast.unparse(mark) for mark in function.decorator_list)
        yield number, level + (", `--deploy`" if is_deploy else "")


def calls_in(node: ast.AST) -> Iterator[ast.Call]:
    return (child for child in ast.walk(node) if isinstance(child, ast.Call))


def test_no_check_is_made_out_of_sight() -> None:
    """Each id that stands in the package is one of those that the table is held against."""
    written = {
        number
        for path in SOURCES
        for number in re.findall(r"django_sse\.[A-Z]\d{3}", path.read_text())
    }
    assert written == {number for path in SOURCES for number, _ in checks_in(path)}


def test_views_reference_names_every_option_and_its_default() -> None:
    """Options are documented as StreamOptions has them, in its order."""
    documented = [
        (code(row[0])[0], ast.literal_eval(code(row[2])[0]))
        for row in table("reference/views.md", "option")
    ]
    defaults = StreamOptions()
    fields = dataclasses.fields(StreamOptions)
    assert documented == [(field.name, getattr(defaults, field.name)) for field in fields]


def test_views_reference_marks_the_attributes_of_the_class() -> None:
    """A star means that EventStreamView has an attribute of that name."""
    rows = table("reference/views.md", "option")
    marked = {code(row[0])[0] for row in rows if row[0].endswith("*")}
    names = {field.name for field in dataclasses.fields(StreamOptions)}
    assert marked == names & set(vars(django_sse.EventStreamView))


def test_signals_reference_names_every_signal() -> None:
    """Those of the package's face, and no others."""
    documented = [code(row[0])[0] for row in table("reference/signals.md", "signal")]
    assert sorted(documented) == sorted(signals.__all__)


def test_signals_reference_names_the_arguments_that_are_sent() -> None:
    """The table says what the source passes, wherever that is sent."""
    documented = {
        code(row[0])[0]: set(code(row[2])) for row in table("reference/signals.md", "signal")
    }
    assert documented == {
        "stream_opened": {"stream"},
        "event_sent": {"stream", "event"},
        "stream_closed": {"stream", "reason"},
        "event_published": {"groups", "event"},
        "events_dropped": {"stream", "count"},
    }
    sent: dict[str, set[str]] = {name: set() for name in signals.__all__}
    for path in SOURCES:
        for name, arguments in calls_that_send(path):
            sent[name] |= arguments
    assert sent == documented


def calls_that_send(path: Path) -> Iterator[tuple[str, set[str]]]:
    """Yield the signal and the arguments of each call that sends one, by whatever helper."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        keywords = {keyword.arg for keyword in node.keywords if keyword.arg}
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr in ("send_robust", "asend_robust"):
            if (name := signal_in(called.value)) is not None:
                yield name, keywords
        elif node.args and (name := signal_in(node.args[0])) is not None:
            yield name, keywords | {"stream"}  # _report() and _notify() add it.


def signal_in(node: ast.expr) -> str | None:
    """Return the name of the signal that *node* names."""
    return node.id if isinstance(node, ast.Name) and node.id in signals.__all__ else None


def test_signals_reference_names_every_reason() -> None:
    """A stream's end has a name and a text."""
    documented = {
        code(row[0])[0]: code(row[1])[0] for row in table("reference/signals.md", "reason")
    }
    assert documented == {reason.name: reason.value for reason in CloseReason}


def test_stores_reference_tells_what_an_event_takes() -> None:
    """The memory store's figures are those that the page's own code measures, roughly."""
    [block] = [b for b in blocks_of(DOCS / "reference/stores.md") if "def measure(" in b.text]
    names: dict[str, Any] = {}
    exec(block.text, names)
    for row in table("reference/stores.md", "data"):
        data, length, taken = (int(re.sub(r"\D", "", cell)) for cell in row[:3])
        assert names["measure"](data) == (length, pytest.approx(taken, rel=0.1))
    assert names["measure"](100, events=1, groups=1000)[1] == pytest.approx(1500, rel=0.1)


@pytest.mark.parametrize(
    ("store", "page", "section"),
    [
        (BaseStore, "reference/stores.md", "## Options of all stores"),
        (RedisStore, "reference/stores.md", "## RedisStore"),
        (DatabaseStore, "how-to/transactional-outbox.md", "# "),
    ],
)
def test_stores_reference_names_every_option_and_its_default(
    store: type[BaseStore], page: str, section: str
) -> None:
    """What all stores have is in one table, and what a class adds to it in another."""
    common = options_in("reference/stores.md", "## Options of all stores", 2)
    own = options_in(page, section, 1 if store is DatabaseStore else 2)
    parameters = list(inspect.signature(store.__init__).parameters.values())[1:]
    assert common | own == {parameter.name: parameter.default for parameter in parameters}


def options_in(page: str, section: str, column: int) -> dict[str, Any]:
    rows = table(page, "option", section)
    return {code(row[0])[0]: ast.literal_eval(code(row[column])[0]) for row in rows}


def test_memory_store_has_the_options_of_all_stores() -> None:
    """And no others, as its section says."""
    assert inspect.signature(MemoryStore) == inspect.signature(BaseStore)


def test_errors_reference_names_every_error_and_its_bases() -> None:
    """The second column has what it is beside an SSEError."""
    documented = {
        code(row[0])[0]: set(code(row[1])) for row in table("reference/errors.md", "error")
    }
    actual = {}
    for name in exceptions.__all__:
        bases = {base.__name__ for base in getattr(exceptions, name).__bases__}
        actual[name] = bases - {"SSEError"}
    assert documented == actual


def test_logging_reference_names_every_count() -> None:
    """The counts are those of Metrics."""
    documented = [code(row[0])[0] for row in table("reference/logging.md", "name")]
    assert documented == [field.name for field in dataclasses.fields(Metrics)]


def test_logging_reference_has_every_message() -> None:
    """Each message of the package is in a table, by its words up to an argument or after one."""
    rows = {f"{row[0]} {row[1]}" for row in table("reference/logging.md", "level")}
    of_command = {f"{row[0]} {row[1]}" for row in table("reference/commands.md", "level")}
    found = set()
    for path in SOURCES:
        there = of_command if "management" in path.parts else rows
        for level, message in logged(path):
            words = [part for part in re.split(r"%[.\d]*[a-z]", message) if len(part) > 4]
            text = words[0].strip(" :('")
            same = {row for row in there if row.startswith(level) and text in row}
            assert same, f"{path.name} logs {message!r}, {level}"
            found |= same
    assert found == rows | of_command


def logged(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the level and the text of each call of a logger."""
    # log(): at first; see LayerLink.
    levels = dict.fromkeys(["log", "logger.exception", "errors_logged"], "ERROR")
    for call in calls_in(ast.parse(path.read_text())):
        called = ast.unparse(call.func)
        # The message of errors_logged() is its caller's.
        is_log = re.fullmatch(r"log|logger\.\w+|errors_logged", called)
        if is_log and call.args and not isinstance(call.args[0], ast.Name):
            level = levels.get(called, called.removeprefix("logger.").upper())
            yield level, ast.literal_eval(call.args[0])


def test_architecture_has_every_module_in_its_layer() -> None:
    """The table is the one that the test of imports goes by."""
    rows = table("architecture.md", "layer")
    assert [set(code(row[1])) for row in rows] == LAYERS
    assert [row[0] for row in rows] == [str(number) for number in range(len(LAYERS))]


def test_architecture_says_what_every_module_holds() -> None:
    """But for the plain ones at the bottom and the app's own at the top."""
    documented = [name for row in table("architecture.md", "module") for name in code(row[0])]
    assert sorted(documented) == sorted(set.union(*LAYERS[1:-1]))


@pytest.mark.parametrize("name", django_sse.__all__)
def test_reference_has_every_public_name(name: str) -> None:
    """What can be imported from the package is described in the reference."""
    pages = (path.read_text() for path in (DOCS / "reference").glob("*.md"))
    assert any(
        re.search(rf"django_sse\.{name}(\(\))?\n", page) or f"| `{name}` |" in page
        for page in pages
    )


def test_changelog_names_what_there_is() -> None:
    """Public names, settings, options, stores, commands and checks: all are new to somebody."""
    commands = (ROOT / "django_sse/management/commands").glob("[!_]*.py")
    names = {
        *django_sse.__all__,
        *(field.name.upper() for field in dataclasses.fields(Settings)),
        *(field.name for field in dataclasses.fields(StreamOptions)),
        *(store.__name__ for store in (BaseStore, MemoryStore, RedisStore, DatabaseStore)),
        *(path.stem for path in commands),
        *(number.partition(".")[2] for path in SOURCES for number, _ in checks_in(path)),
    }
    words = re.findall(r"\w+", " ".join(code((ROOT / "CHANGELOG.md").read_text())))
    assert names - set(words) == set()


# Links.


def anchors_of(page: Path) -> set[str]:
    """Return the targets within *page*: its headings, and those that are named."""
    text = page.read_text()
    headings = re.findall(r"^#{1,3} (.+)$", text, re.M)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r"^\(([\w-]+)\)=$", text, re.M))


def test_links_go_to_files_and_anchors_that_are_there() -> None:
    """Every relative link of every page."""
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
            if re.match(r"https?:|mailto:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or (anchor and anchor not in anchors_of(file)):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_readme_links_to_every_page() -> None:
    """A page that nobody finds is none."""
    linked = set(re.findall(r"\]\((docs/[^)#]+\.md)", README.read_text()))
    pages = {str(page.relative_to(ROOT)) for page in PAGES if DOCS in page.parents}
    assert pages - linked <= {"docs/index.md"}


def test_readme_has_the_commands_that_run_the_demo_and_the_tests() -> None:
    """Each stands alone on a line, as a newcomer copies it."""
    commands = [block.text for block in blocks_of(README) if block.language == "console"]
    assert "$ make demo\n" in commands
    assert "$ make test\n" in commands


# Code.


@pytest.mark.parametrize("block", python_blocks())
def test_python_block_compiles(block: Block) -> None:
    """It may await outside a function, as an extract does."""
    compile(block.text, f"{block.page}:{block.line}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("block", python_blocks())
def test_python_block_imports_names_that_the_package_has(block: Block) -> None:
    """A name that is imported from the package is there."""
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("django_sse"):
            assert node.module is not None
            __import__(node.module)
            for alias in node.names:
                assert hasattr(sys.modules[node.module], alias.name)


def test_event_on_the_wire_is_as_the_reference_says() -> None:
    """The example of the format is run; it asserts its bytes."""
    [block] = [b for b in blocks_of(DOCS / "reference/events.md") if b.language == "python"]
    exec(block.text, {})


@pytest.mark.node
@pytest.mark.parametrize("page", SCRIPTED, ids=name_of)
def test_scripts_of_pages_are_javascript(page: Path) -> None:
    """What a page's template holds in a module script is parsed by Node.js."""
    node = require_node()
    scripts = [
        script
        for block in blocks_of(page)
        for script in re.findall(r'<script type="module">(.*?)</script>', block.text, re.S)
    ]
    assert scripts
    for script in scripts:
        subprocess.run(
            [node, "--input-type=module", "--check"],
            input=script,
            text=True,
            check=True,
            capture_output=True,
        )


# The first stream and the tutorial, as a reader follows them.


class Project:
    """A project made as a page says: by Django's command, then by the page's files in order."""

    def __init__(
        self, folder: Path, page: Path, app: str, files: Mapping[str, str] | None = None
    ) -> None:
        """Make it in *folder*; *files* are what stands in it before the page begins."""
        self.folder = folder
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._environment.pop("DJANGO_SETTINGS_MODULE", None)
        self._environment["NO_COLOR"] = "1"
        self.run("-m", "django", "startproject", "mysite", ".")
        self.run("manage.py", "startapp", app)
        for path, text in (files or {}).items():
            self._write(folder / path, text)
        for block in blocks_of(page):
            if block.file is not None:
                self._write(folder / block.file, block.text)
        self.run("manage.py", "makemigrations", app)
        self.run("manage.py", "migrate")

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # What goes to the settings goes to their end; every other block is its whole file.
        before = path.read_text() if path.name == "settings.py" else ""
        path.write_text(f"{before}\n{text}" if before else text)

    def run(self, *arguments: str) -> str:
        """Run Python in the project; return what it prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """Serve the project by its own ``runserver``; yield its address."""
        port = free_port()
        log = self.folder / "server.log"
        with (
            log.open("w") as output,
            subprocess.Popen(
                [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"],
                cwd=self.folder,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as server,
        ):
            try:
                address = f"http://127.0.0.1:{port}"
                self._wait_for(address, server)
                assert "ASGI/Daphne" in log.read_text()
                yield address
            finally:
                server.terminate()
                try:
                    server.wait(timeout=EVENT_SECONDS)
                except subprocess.TimeoutExpired:
                    server.kill()

    def _wait_for(self, address: str, server: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx.get(f"{address}/admin/login/")
            except httpx.TransportError:
                log = (self.folder / "server.log").read_text()
                assert server.poll() is None, log
                assert time.monotonic() < deadline, log
                time.sleep(0.05)  # Until it listens there is nothing to wait on.
            else:
                return


@contextlib.contextmanager
def stream(client: httpx.Client, path: str) -> Iterator[Iterator[tuple[str, str]]]:
    """Open a stream; yield an iterator of its events, each a type and its data."""
    with client.stream("GET", path, headers={"Accept": "text/event-stream"}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        yield events_of(response.iter_lines())


def stream_of(page: str) -> str:
    """Return the URL that the page's one element opens."""
    [element] = re.findall(r"<event-source([^>]*)>", page)
    attributes = dict(re.findall(r' ([\w-]+)="([^"]*)"', html.unescape(element)))
    url = httpx.URL(attributes["src"])
    return str(url.copy_add_param("last_event_id", attributes["last-event-id"]))


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    kind, data = "message", []
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif not line:
            if data:
                yield kind, "\n".join(data)
            kind, data = "message", []


@pytest.mark.slow
def test_first_stream_of_the_readme_runs(tmp_path: Path) -> None:
    """A reader who follows the steps has a page, its stream, and an event on it."""
    project = Project(tmp_path, README, "live")
    with project.serve() as address, httpx.Client(base_url=address, timeout=EVENT_SECONDS) as page:
        url = stream_of(page.get("/live/").text)
        token = {"csrfmiddlewaretoken": page.cookies["csrftoken"], "text": "<Hello>"}
        assert page.post("/live/", data=token).status_code == 204
        with stream(page, url) as events:  # It began when the page was rendered.
            assert next(events) == ("message", "<li>&lt;Hello&gt;</li>")


@pytest.mark.slow
def test_tutorial_runs(tmp_path: Path) -> None:
    """At its end the board is live, its guard refuses strangers, and its own tests pass."""
    project = Project(tmp_path, TUTORIAL, "board")
    with project.serve() as address, httpx.Client(base_url=address, timeout=EVENT_SECONDS) as page:
        page.get("/")
        token = page.cookies["csrftoken"]
        page.post("/", data={"csrfmiddlewaretoken": token, "text": "old"})
        text = page.get("/").text
        assert '<li id="notice-1">old</li>' in text
        page.post("/", data={"csrfmiddlewaretoken": token, "text": "new"})
        with stream(page, stream_of(text)) as events:  # It began when the page was rendered.
            assert next(events) == ("notice", '<li id="notice-2">new</li>')
        with stream(page, "/clock/") as ticks:
            assert next(ticks)[0] == "tick"
        assert page.get("/visits/").status_code == 403
    assert "OK" in project.run("-W", "error", "manage.py", "test")
    assert "no issues" in project.run("manage.py", "check")
