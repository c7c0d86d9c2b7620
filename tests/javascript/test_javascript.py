"""The package's JavaScript: its tests by Node.js, its types, its style, and what is built."""

import gzip
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.npm import require_modules
from tests.services import require_node
from tests.test_docs import code, table

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SCRIPTS = ROOT / "django_sse" / "static" / "django_sse"
REFERENCE = "reference/event-source-element.md"
TESTS = sorted(path.name for path in HERE.glob("*.test.js"))

#: What pages load in production, and the most bytes that each may have when it is compressed.
BUILT = {
    "event-source.min.js": 6_000,
    "shared-connection.min.js": 2_500,
    "fetch-source.min.js": 2_600,
    "admin/dashboard.min.js": 3_000,
}
#: What the element imports when it is asked to.
ON_DEMAND = {"shared-connection.min.js", "fetch-source.min.js"}
TIMEOUT_SECONDS = 300

pytestmark = pytest.mark.node


def run(*command: str, folder: Path = HERE) -> str:
    """Return what *command* prints; the test fails where it does."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "NODE_NO_WARNINGS": "1", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)}:\n{done.stdout}", pytrace=False)
    return done.stdout


def tool(name: str) -> str:
    """Return the path of a program of package.json's."""
    require_node()
    return str(require_modules(HERE) / ".bin" / name)


@pytest.mark.parametrize("name", TESTS)
def test_the_tests_of_a_module_pass(name: str) -> None:
    """Each file holds those of one module, or of two that are one."""
    node = require_node()
    require_modules(HERE)
    output = run(node, "--test", "--test-reporter=spec", name)
    ran = re.search(r"^. tests (\d+)$", output, re.MULTILINE)
    assert ran is not None
    assert int(ran[1]) > 0


def test_the_types_are_right() -> None:
    """TypeScript's compiler believes the comments, strictly."""
    run(tool("tsc"), "--project", ".")


def test_the_style_is_kept() -> None:
    """ESLint has nothing to say; `make lint` asks the same."""
    eslint = tool("eslint")
    config = str(HERE / "eslint.config.js")
    run(eslint, "--config", config, str(SCRIPTS), str(HERE), folder=ROOT)


def built_in(folder: Path) -> set[str]:
    """Return the names of the built files in *folder*; what is of others is in vendor/."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.min.js")}
    return {name for name in names if not name.startswith("vendor/")}


def test_what_is_built_is_what_is_shipped(tmp_path: Path) -> None:
    """Byte for byte: whoever changes a module builds anew, and commits that too."""
    require_modules(HERE)
    run(require_node(), "build.js", str(tmp_path))
    assert built_in(tmp_path) == built_in(SCRIPTS) == set(BUILT)
    for name in BUILT:
        if (tmp_path / name).read_bytes() != (SCRIPTS / name).read_bytes():
            pytest.fail(f"{name} is not built from the modules: run `make client`", pytrace=False)


@pytest.mark.parametrize("name", BUILT)
def test_what_is_built_is_small(name: str) -> None:
    """What every page loads has less than 6 kB; the rest comes when it is asked for."""
    assert len(gzip.compress((SCRIPTS / name).read_bytes(), 9)) <= BUILT[name]


@pytest.mark.parametrize("name", BUILT)
def test_what_is_built_is_one_file(name: str) -> None:
    """It imports nothing but on demand, and names no source map, which is not shipped."""
    text = (SCRIPTS / name).read_text()
    assert re.search(r"\b(import|from)\s*[\"'{*]|\bimport\s+\w", text) is None
    assert "sourceMappingURL" not in text
    found = set(re.findall(r"import\(\"\./(.+?)\"\)", text))
    assert found == (ON_DEMAND if name == "event-source.min.js" else set())


@pytest.mark.parametrize("name", BUILT)
def test_what_is_built_says_whose_it_is(name: str) -> None:
    """The package with its version and licence, and those of others whose code is inside."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    first, *others = re.findall(r"^/\*! (.+) \*/$", (SCRIPTS / name).read_text(), re.MULTILINE)
    assert first == f"{project['name']} {project['version']}, {project['license']}"
    if name == "fetch-source.min.js":
        [other] = others
        assert re.match(r"eventsource-parser \d[\d.]+, https://\S+, MIT .+ Copyright \(c\)", other)
    else:
        assert others == []


def test_nothing_runs_at_import_but_the_definition() -> None:
    """A module may be loaded where there is no document: no global of a browser's is touched."""
    names = [path.name for path in SCRIPTS.glob("*.js")]
    elements = {"attributes.js", "element.js", "event-source.js", "event-source.min.js"}
    free = sorted(set(names) - elements)
    imports = "".join(f"import {str(SCRIPTS / name)!r};\n" for name in free)
    run(require_node(), "--input-type=module", "--eval", imports)


def test_the_reference_names_every_attribute() -> None:
    """The table of the page is that of the element, in its order."""
    script = (SCRIPTS / "attributes.js").read_text()
    read = re.search(r"const ATTRIBUTES = \{(.*?)\n\};", script, re.DOTALL)
    assert read is not None
    names = re.findall(r"^ +\"?([a-z-]+)\"?:", read[1], re.MULTILINE)
    assert documented("attribute") == [*names, "state"]


def test_the_reference_names_every_state() -> None:
    """As the type of a state has them."""
    state = re.search(r"@typedef \{(.+)\} State\b", (SCRIPTS / "types.js").read_text())
    assert state is not None
    assert documented("state") == re.findall(r'"(\w+)"', state[1])


def test_the_reference_names_every_member() -> None:
    """Properties and methods of the class, beside those that reflect attributes alone."""
    script = (SCRIPTS / "element.js").read_text()
    members = set(re.findall(r"^  (?:get )?([a-z]\w+)\(.*\) \{$", script, re.MULTILINE))
    members -= {name for name in members if name.endswith("Callback")}
    assert members == {*documented("property"), *documented("method")}


def documented(heading: str) -> list[str]:
    """Return the names in the first column of the table with that heading."""
    rows = table(REFERENCE, heading)
    return [code(row[0])[0].removesuffix("()") for row in rows]
