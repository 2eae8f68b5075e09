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

COLAB = (
    "aiohttp==3.14.3",
    "ipykernel==6.17.1",
    "ipython==7.34.0",
    "psutil==5.9.5",
    "requests==2.32.4",
    "tenacity==9.1.4",
    "traitlets==5.7.1",
    "zstandard==0.25.0",
    # What else we need or run on, as in that list of June 2026.
    "certifi==2026.5.20",
    "jupyter_client==7.4.9",
    "jupyter_core==5.9.1",
    "markdown-it-py==4.2.0",
    "mdurl==0.1.2",
    "nbclient==0.10.4",
    "nbformat==5.10.4",
    "platformdirs==4.10.0",
    "prometheus_client==0.25.0",
    "pytest==8.4.2",
    "python-dotenv==1.2.2",
    "PyYAML==6.0.3",
    "pyzmq==26.2.1",
    "tornado==6.5.1",
    "tqdm==4.67.3",
    "urllib3==2.5.0",
    "uvloop==0.22.1",
)
"""What Colab has installed (googlecolab/backend-info, ``pip-freeze``)."""

_OFFERED = """
from pathlib import Path
from spicy_avocado_magic.system.platforms import datadog_example
assert (Path(datadog_example()) / "openmetrics.d" / "conf.yaml").is_file()
"""
"""The wheel holds the example for Datadog that the offer of metrics points to."""

nox.options.sessions = [
    "lint",
    "types",
    "tests",
    *(f"kernels-{name}" for name in KERNELS),
    "colab",
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


@nox.session(python="3.13")
def colab(session: nox.Session) -> None:
    """Our wheel among what Colab has: it changes none of it, and the magics work."""
    session.chdir(ROOT)
    folder = Path(session.create_tmp())
    for old in folder.glob("*.whl"):
        old.unlink()
    session.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ".")
    (wheel,) = folder.glob("*.whl")
    session.install(*COLAB, "pytest-asyncio", "pytest-timeout")
    before = _frozen(session)
    session.install(str(wheel))
    after = _frozen(session)
    if before - after:
        session.error(f"Installing changed {sorted(before - after)}.")
    session.log(f"Installing added {sorted(after - before)}.")
    session.run("python", "-m", "pip", "check")
    session.run("python", "-P", "-c", _OFFERED)
    # Colab's jupyter_client is older than Python 3.13, and leaves its loop open.
    lenient = ("-W", "ignore::DeprecationWarning", "-W", "ignore::ResourceWarning")
    _run_tests(session, *lenient, "tests/kernels")


def _run_tests(session: nox.Session, *arguments: str) -> None:
    """Run tests; what failed is printed, and has to pass when it runs by itself."""
    named = ("-o", f"cache_dir={session.create_tmp()}/cache", *arguments)
    session.run("pytest", *named, *session.posargs, success_codes=[0, 1])
    alone = ("--last-failed", "--last-failed-no-failures", "none")
    session.run("pytest", *named, *alone, *session.posargs, success_codes=[0, 5])


def _frozen(session: nox.Session) -> set[str]:
    listed = session.run("python", "-m", "pip", "freeze", "--all", silent=True)
    return set(str(listed).split("\n")) - {""}


def _kernel_session(name: str) -> None:
    python, pins = KERNELS[name]

    @nox.session(python=python, name=f"kernels-{name}")
    def kernels(session: nox.Session) -> None:
        """The magics in real kernels of one IPython, and the first notebook."""
        session.chdir(ROOT)
        session.install(*pins, *NEEDED, ".")
        _run_tests(session, "tests/kernels", QUICKSTART)


for _name in KERNELS:
    _kernel_session(_name)
