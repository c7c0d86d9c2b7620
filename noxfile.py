"""The tests on every supported pair of Python and Django, and the checks as the gate runs them."""

import nox

nox.needs_version = ">=2025.11.12"
nox.options.sessions = ["tests", "lint", "docs"]
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

PAIRS = [
    nox.param("3.11", "5.2", tags=["oldest"]),
    nox.param("3.12", "5.2"),
    nox.param("3.12", "6"),  # Django 6 needs Python 3.12
    nox.param("3.13", "5.2"),
    nox.param("3.13", "6", tags=["newest"]),
]
REQUIREMENTS = {
    "5.2": "django~=5.2.0",
    "6": "django>=6.0,<7",  # the newest 6.x
}


@nox.session
@nox.parametrize(("python", "django"), PAIRS)
def tests(session: nox.Session, django: str) -> None:
    """Run the tests; what follows `--` goes to pytest. Tags: oldest, newest."""
    groups = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "tests")
    session.install("--editable", ".", *groups, REQUIREMENTS[django])
    session.run("python", "-c", "import django, sys; print(sys.version, django.get_version())")
    session.run("pytest", *session.posargs)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check code, templates, scripts and types, in the environment that make keeps."""
    session.run("make", "lint", "types", external=True)


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.run("make", "docs", external=True)
