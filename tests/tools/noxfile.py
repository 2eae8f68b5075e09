"""The kernel matrix and the checks: ``nox -f tests/tools/noxfile.py``."""

from __future__ import annotations

from pathlib import Path

import nox

ROOT = Path(__file__).parents[2]
KERNELS = {
    # What Google Colab and Kaggle ship.
    "7.34": ("3.11", ("ipython==7.34.0", "ipykernel==6.17.1", "traitlets==5.7.1")),
    # What SageMaker Studio ships.
    "8": ("3.12", ("ipython>=8.37,<9", "ipykernel>=6.29,<7")),
    "9": ("3.13", ("ipython>=9,<10", "ipykernel>=7")),
}
NEEDED = (
    "jupyter-client>=8",
    "nbclient",
    "nbformat",
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
)

QUICKSTART = "tests/examples/test_notebooks.py::test_it_runs_in_rehearsal[quickstart]"

nox.options.sessions = [
    "lint",
    "types",
    "tests",
    *(f"kernels-{name}" for name in KERNELS),
]
nox.options.default_venv_backend = "venv"


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, check and format."""
    session.chdir(ROOT)
    session.install("ruff==0.17.6")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict."""
    session.chdir(ROOT)
    session.install("-e", ".[test]")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite."""
    session.chdir(ROOT)
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


def _kernel_session(name: str) -> None:
    python, pins = KERNELS[name]

    @nox.session(python=python, name=f"kernels-{name}")
    def kernels(session: nox.Session) -> None:
        """The magics in real kernels of one IPython, and the first notebook."""
        session.chdir(ROOT)
        session.install(*pins, *NEEDED, ".")
        session.run("pytest", "tests/kernels", QUICKSTART, *session.posargs)


for _name in KERNELS:
    _kernel_session(_name)
