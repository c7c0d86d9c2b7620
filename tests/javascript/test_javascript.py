"""The package's JavaScript: its tests by Node.js, its types, its style and its size."""

import gzip
import os
import re
import subprocess
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

#: What a page may load for the element: made small by a bundler, and compressed.
MAX_BYTES = 6_000
#: Modules that come when they are asked for.
ON_DEMAND = ("./fetch-source.js", "./shared-connection.js")
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


def test_the_element_is_small() -> None:
    """Without what is loaded on demand, as one file that a bundler has made."""
    options = ["--bundle", "--format=esm", "--minify", "--log-level=error"]
    options += [f"--external:{name}" for name in ON_DEMAND]
    bundle = run(tool("esbuild"), str(SCRIPTS / "event-source.js"), *options)
    assert len(gzip.compress(bundle.encode(), 9)) <= MAX_BYTES


def test_nothing_runs_at_import_but_the_definition() -> None:
    """A module may be loaded where there is no document: no global of a browser's is touched."""
    names = [path.name for path in SCRIPTS.glob("*.js")]
    free = sorted(set(names) - {"attributes.js", "element.js", "event-source.js"})
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
