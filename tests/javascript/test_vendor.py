"""What is shipped of others' code is theirs, unchanged."""

import json
import re

from tests.npm import require_modules
from tests.test_docs import ROOT

VENDOR = ROOT / "django_sse" / "static" / "django_sse" / "vendor"


def test_eventsource_parser_is_that_of_npm() -> None:
    """The file is the package's below two lines, which name its version, address and licence."""
    package = require_modules(ROOT / "tests" / "node") / "eventsource-parser"
    about = json.loads((package / "package.json").read_text())
    lines = (VENDOR / "eventsource-parser.js").read_text().splitlines(keepends=True)
    theirs = (package / "dist" / "index.js").read_text().splitlines(keepends=True)
    # A source map that is not shipped stops ManifestStaticFilesStorage.
    assert theirs[-1].startswith("//# sourceMappingURL=")
    assert lines[2:] == theirs[:-1]
    assert re.match(rf"// eventsource-parser {re.escape(about['version'])}, \S+, MIT ", lines[0])
    licence = (VENDOR / "eventsource-parser.LICENSE").read_text()
    assert licence == (package / "LICENSE").read_text()


def test_uplot_is_that_of_npm() -> None:
    """The files are the package's; one beside them names version, address and licence."""
    package = require_modules(ROOT / "tests" / "javascript") / "uplot"
    about = json.loads((package / "package.json").read_text())
    for name in ("uPlot.iife.min.js", "uPlot.min.css"):
        assert (VENDOR / "uplot" / name).read_bytes() == (package / "dist" / name).read_bytes()
        assert b"sourceMappingURL" not in (VENDOR / "uplot" / name).read_bytes()
    licence = (VENDOR / "uplot" / "LICENSE").read_bytes()
    assert licence == (package / "LICENSE").read_bytes()
    named = (VENDOR / "uplot" / "VERSION").read_text()
    assert re.match(rf"uplot {re.escape(about['version'])}, \S+, MIT ", named)
