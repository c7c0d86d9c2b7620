"""The package's architecture: who may import whom, held against the source itself."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "django_sse"

#: A module imports from its own layer and from lower ones. A package counts as one module.
LAYERS = [
    {"exceptions", "framing", "processes", "reasons", "steps", "types"},
    {
        "backpressure",
        "calls",
        "coalescing",
        "conf",
        "contexts",
        "driver",
        "encoders",
        "envelope",
        "events",
        "exits",
        "groups",
        "history",
        "jobs",
        "layers",
        "lifetime",
        "loops",
        "metrics",
        "models",
        "positions",
        "reports",
        "shortcut",
        "signals",
        "sockets",
        "threads",
        "timers",
        "tokens",
        "traffic",
    },
    {
        "announcing",
        "audiences",
        "batches",
        "readers",
        "backlog",
        "broadcasts",
        "bundling",
        "commands",
        "connections",
        "following",
        "gathering",
        "hub_streams",
        "last_event_ids",
        "layer_link",
        "occupancy",
        "orders",
        "outlet",
        "parcels",
        "places",
        "registry",
        "relaying",
        "replays",
        "resuming",
        "rights",
        "runs",
        "sending",
        "stores",
        "supervision",
        "tails",
        "view_code",
        "visitors",
        "watching",
    },
    {"hub", "publishing"},
    {
        "authorship",
        "catching_up",
        "control",
        "enrolment",
        "feeding",
        "lifecycle",
        "observation",
        "pulses",
        "registrar",
        "reporting",
        "streams",
        "subscriptions",
        "taps",
        "timekeeper",
        "transports",
    },
    {
        "access",
        "arguments",
        "asgi",
        "declarations",
        "decorators",
        "element_attributes",
        "endpoints",
        "group_streams",
        "http",
        "live_querysets",
        "markup",
        "model_publishing",
        "options",
        "overview",
        "revocation",
        "views",
    },
    {"admin", "apps", "checks", "jinja", "management", "templatetags", "testing", "urls"},
]
LAYER_OF = {module: number for number, layer in enumerate(LAYERS) for module in layer}

#: Neither knows of the other: a process may publish without a hub, and a hub needs no publisher.
APART = {"hub", "publishing"}


def sources() -> dict[str, list[Path]]:
    """Return the files of each module of the package; a subpackage is one module."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        name = parts[0].removesuffix(".py")
        # Migrations are written by Django, and have its form; an empty file only makes a package.
        if name not in ("__init__", "migrations") and path.stat().st_size:
            found.setdefault(name, []).append(path)
    return found


SOURCES = sources()


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of everything that the file imports, wherever in it that stands."""
    package = ("django_sse", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += [node.module] if node.module else []
            yield from (".".join([*base, alias.name]) for alias in node.names)


def imported_modules(module: str) -> set[str]:
    """Return the modules of the package that *module* imports from."""
    found = set()
    for path in SOURCES[module]:
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "django_sse":
                # From the package's face nothing inside is imported: see the test below.
                found.add(parts[1] if len(parts) > 1 and parts[1] in SOURCES else "__init__")
    return found - {module}


def reads_settings(path: Path) -> bool:
    """Tell whether the file imports Django's settings object, or a module that it is read from."""
    return any(name in ("django.conf.settings", "django.conf") for name in imports(path))


def test_every_module_has_its_layer() -> None:
    """A module that is added is put in the table, and one that is gone is taken out."""
    assert set(SOURCES) == set(LAYER_OF)


def test_each_module_is_in_one_layer() -> None:
    """The table does not say two things."""
    assert sum(len(layer) for layer in LAYERS) == len(LAYER_OF)


@pytest.mark.parametrize("module", SOURCES)
def test_module_imports_from_its_own_layer_and_lower_ones(module: str) -> None:
    """Nothing low knows of what is built on it."""
    layer = LAYER_OF[module]
    breaches = {name for name in imported_modules(module) if LAYER_OF.get(name, 99) > layer}
    assert breaches == set()


@pytest.mark.parametrize("module", SOURCES)
def test_module_imports_from_the_defining_module(module: str) -> None:
    """Inside, nothing is taken from the package's face, which stands above all."""
    assert "__init__" not in imported_modules(module)


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Within a layer, too, there is an order; an import inside a function makes no exception."""
    graph = {module: imported_modules(module) for module in SOURCES}
    try:
        order = list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"imports go round: {' -> '.join(error.args[1])}")
    assert set(order) == set(SOURCES)


def test_hub_and_publishing_do_not_know_of_each_other() -> None:
    """Each of the two can be used, and understood, alone."""
    for module in APART:
        assert not imported_modules(module) & (APART - {module})


@pytest.mark.parametrize("module", sorted(LAYERS[0]))
def test_lowest_layer_needs_the_standard_library_only(module: str) -> None:
    """The wire form, the errors and the types are plain Python."""
    for path in SOURCES[module]:
        for name in imports(path):
            assert not name.startswith(("django.", "channels", "asgiref"))


@pytest.mark.parametrize("module", sorted(set(SOURCES) - {"conf", "checks"}))
def test_only_conf_reads_the_settings(module: str) -> None:
    """A setting is checked in one place, and has one name; the checks look at two of Django's."""
    assert not any(reads_settings(path) for path in SOURCES[module])


def test_checks_read_two_settings_of_django() -> None:
    """What is DJANGO_SSE's they ask conf for."""
    source = (PACKAGE / "checks.py").read_text()
    names = {
        node.args[1].value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "getattr"
        and isinstance(node.args[1], ast.Constant)
    }
    attributes = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "settings"
    }
    assert names | attributes == {"ASGI_APPLICATION", "ROOT_URLCONF"}


@pytest.mark.parametrize("module", SOURCES)
def test_module_says_what_it_exports(module: str) -> None:
    """__all__ names what other modules may take; each name is there, once."""
    for path in SOURCES[module]:
        tree = ast.parse(path.read_text())
        exported = _exported(tree)
        assert exported
        assert len(set(exported)) == len(exported)
        # A subpackage's files may hand on what those who extend it need.
        handed_on = set(_imported(tree)) if len(SOURCES[module]) > 1 else set()
        assert set(exported) <= handed_on.union(_defined(tree))
        assert ast.get_docstring(tree)


def _exported(tree: ast.Module) -> list[str]:
    return [
        name
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "__all__"
        for name in ast.literal_eval(node.value)
    ]


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


@pytest.mark.parametrize("module", SOURCES)
def test_module_takes_only_what_another_exports(module: str) -> None:
    """A name with an underscore, or one that is not in __all__, is its module's own."""
    for path in SOURCES[module]:
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "django_sse" and len(parts) == 3 and len(SOURCES[parts[1]]) == 1:
                exported = _exported(ast.parse(SOURCES[parts[1]][0].read_text()))
                assert parts[2] in exported, f"{path.name} takes {name}"


def test_imports_finds_every_way_to_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The walk sees relative imports, those in functions, and those for type checkers."""
    folder = tmp_path / "management"
    folder.mkdir()
    path = folder / "command.py"
    path.write_text(
        "import django_sse.hub\n"
        "from django_sse import conf as c\n"
        "from .. import streams\n"
        "from ..views import EventStreamView\n"
        "from . import other\n"
        "def f():\n    from django.conf import settings\n"
        "if TYPE_CHECKING:\n    from django_sse.types import Send\n"
    )
    monkeypatch.setattr("tests.test_layers_of_imports.PACKAGE", tmp_path)
    assert set(imports(path)) == {
        "django_sse.hub",
        "django_sse.conf",
        "django_sse.streams",
        "django_sse.views.EventStreamView",
        "django_sse.management.other",
        "django.conf.settings",
        "django_sse.types.Send",
    }
    assert reads_settings(path)
