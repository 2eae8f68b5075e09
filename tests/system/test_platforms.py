"""Each platform's traces recreated: which row holds, and what it says.

None of this ran on the platforms themselves; what is recreated is what their
documentation and sources say can be seen there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from spicy_avocado_magic.system.paths import models_folder
from spicy_avocado_magic.system.platforms import (
    PLATFORMS,
    Platform,
    PlatformSignals,
    datadog_example,
    detect_platform,
    detect_platforms,
    first_run_notices,
)

from ..main_job.home import PACKAGE_PARENT

NOWHERE: Final = PlatformSignals(
    environ={}, exists=lambda _path: False, modules=frozenset(), names=frozenset()
)
KERNEL: Final = {"JPY_PARENT_PID": "7"}
HUB: Final = KERNEL | {
    "JUPYTERHUB_API_URL": "http://hub:8081/hub/api",
    "JUPYTERHUB_SERVICE_PREFIX": "/user/ann/",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a program sees somewhere, and the rows that ought to hold there."""

    rows: tuple[str, ...]
    environ: tuple[tuple[str, str], ...] = ()
    files: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def traces(self) -> PlatformSignals:
        """Return them as the table reads them."""
        return PlatformSignals(
            environ=dict(self.environ),
            exists=self.files.__contains__,
            modules=self.modules,
            names=self.names,
        )


def seen(*rows: str, **variables: str) -> Place:
    """Return a kernel with these variables."""
    environ = tuple((KERNEL | variables).items())
    return Place(rows=(*rows, "Jupyter"), environ=environ)


METADATA: Final = "/opt/ml/metadata/resource-metadata.json"
DATADOG: Final = "a container that Datadog monitors"
PLACES: Final = (
    seen("Kaggle", "Google Colab", KAGGLE_KERNEL_RUN_TYPE="Batch", COLAB_GPU=""),
    seen("Google Colab", COLAB_RELEASE_TAG="release-colab", COLAB_GPU="1"),
    Place(rows=("Google Colab",), modules=frozenset({"google.colab"})),
    Place(
        rows=("SageMaker", "Jupyter"),
        environ=tuple(KERNEL.items()),
        files=frozenset({METADATA}),
    ),
    seen("Databricks", DATABRICKS_RUNTIME_VERSION="16.4"),
    seen("Deepnote", DEEPNOTE_PROJECT_ID="5f3c"),
    seen("Datalore", DATALORE_USER="ann"),
    seen("Lightning", LIGHTNING_CLOUD_SPACE_ID="01h"),
    seen("Lightning", "VS Code", LIGHTNING_CLOUD_SPACE_ID="01h", VSCODE_PID="9"),
    seen("Paperspace", PAPERSPACE_NOTEBOOK_REPO_ID="r1"),
    seen("Codespaces", CODESPACES="true"),
    seen("Codespaces", "VS Code", CODESPACES="true", VSCODE_PID="9"),
    seen("Binder", "JupyterHub", **HUB, BINDER_REPO_URL="https://example.com/repo"),
    seen("Binder", "JupyterHub", **HUB, BINDER_LAUNCH_HOST="https://mybinder.org/"),
    seen("JupyterHub", **HUB),
    seen("JupyterHub", DATADOG, **HUB, DD_AGENT_HOST="10.0.0.7"),
    seen("VS Code", VSCODE_PID="9"),
    Place(
        rows=("VS Code", "Jupyter"),
        modules=frozenset({"ipykernel"}),
        names=frozenset({"__vsc_ipynb_file__"}),
    ),
    seen(DATADOG, DD_AGENT_HOST="10.0.0.7"),
    seen(DATADOG, DD_TRACE_AGENT_URL="unix:///var/run/datadog/apm.socket"),
    Place(rows=(DATADOG,), files=frozenset({"/var/run/datadog/dsd.socket"})),
    Place(rows=(DATADOG,), files=frozenset({"/etc/datadog-agent/datadog.yaml"})),
    seen(),
    Place(rows=("Jupyter",), modules=frozenset({"ipykernel", "IPython"})),
    Place(rows=("a terminal",), modules=frozenset({"IPython"})),
    # A key for Datadog's service says nothing of an Agent.
    Place(rows=("a terminal",), environ=(("DD_API_KEY", "0"), ("DD_ENV", "x"))),
)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: "+".join(place.rows))
def test_a_platform_is_told_by_its_marks(place: Place) -> None:
    """All rows that hold are found, and the one that owns the machine comes first."""
    found = tuple(row.name for row in detect_platforms(place.traces()))
    assert found == place.rows, f"{found} in place of {place.rows}"
    assert detect_platform(place.traces()).name == place.rows[0]


def test_every_row_was_recreated() -> None:
    """A row that no test decides upon is a row nobody has tried."""
    first = {place.rows[0] for place in PLACES}
    assert first == {row.name for row in PLATFORMS}, "a row is never the first"


@pytest.mark.parametrize("row", PLATFORMS[:-1], ids=lambda row: row.name)
def test_each_mark_alone_tells_its_platform(row: Platform) -> None:
    """So that one that goes missing there is not missed here."""
    for mark in row.variables:
        alone = Place(rows=(), environ=((mark, ""),))
        assert detect_platform(alone.traces()) is row, f"{mark} alone tells another"
    for mark in row.files:
        alone = Place(rows=(), files=frozenset({mark}))
        assert detect_platform(alone.traces()) is row, f"{mark} alone tells another"
    for mark in row.modules:
        alone = Place(rows=(), modules=frozenset({mark}))
        assert detect_platform(alone.traces()) is row, f"{mark} alone tells another"
    for mark in row.names:
        alone = Place(rows=(), names=frozenset({mark}))
        assert detect_platform(alone.traces()) is row, f"{mark} alone tells another"


def test_there_is_always_a_row_that_holds() -> None:
    """The last one has no mark, and only that one."""
    assert detect_platforms(NOWHERE) == (PLATFORMS[-1],)
    for row in PLATFORMS:
        marks = (*row.variables, *row.files, *row.modules, *row.names)
        assert bool(marks) == (row is not PLATFORMS[-1]), f"{row.name}: {marks}"


@pytest.mark.parametrize("row", PLATFORMS, ids=lambda row: row.name)
def test_folders_and_libraries_hold_for_the_host_too(row: Platform) -> None:
    """It has neither the kernel's modules nor the notebook's names, and decides."""
    is_needed = bool(row.library_path or row.scratch or row.drive or row.ports)
    assert not is_needed or row.variables or row.files, f"{row.name} is lost there"


@pytest.mark.parametrize(
    ("name", "library_path", "scratch", "drive", "ports"),
    [
        ("Kaggle", "/usr/local/nvidia/lib64", ("/kaggle/temp",), "", ()),
        ("Google Colab", "/usr/lib64-nvidia", ("/content",), "/content/drive", (8080,)),
        ("SageMaker", "", ("/mnt/sagemaker-nvme",), "", ()),
        ("Databricks", "", ("/local_disk0",), "", ()),
        ("Codespaces", "", (), "", ()),
        ("a terminal", "", (), "", ()),
    ],
)
def test_what_is_known_of_a_machine_is_in_its_row(
    name: str,
    library_path: str,
    scratch: tuple[str, ...],
    drive: str,
    ports: tuple[int, ...],
) -> None:
    """Folders, the driver's libraries, the drive and the ports that are taken."""
    (row,) = (one for one in PLATFORMS if one.name == name)
    assert row.library_path == library_path
    assert row.scratch == scratch
    assert row.drive == drive
    assert row.ports == ports


@pytest.mark.parametrize("row", PLATFORMS, ids=lambda row: row.name)
def test_a_row_can_be_used_where_its_folders_are_not(
    row: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A platform that has moved its disk does not make a start fail."""
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) == tmp_path)
    folder = models_folder("", rehearsal=False, scratch=row.scratch)
    assert str(folder).startswith(str(tmp_path)), f"{folder} cannot be had"


def words(*names: str) -> tuple[str, ...]:
    """Return what the first ``up`` says where these rows hold."""
    rows = {row.name: row for row in PLATFORMS}
    return first_run_notices([rows[name] for name in names])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Kaggle", "12 hours"),
        ("Kaggle", "ban many forms of tunneling"),
        ("Google Colab", "12 hours"),
        ("Google Colab", "restrict serving"),
        ("Deepnote", "15 minutes"),
        ("Paperspace", "6 hours"),
        ("Codespaces", "30 idle minutes"),
        ("Binder", "10 idle minutes"),
        ("Binder", "not to use keys or tokens"),
    ],
)
def test_limits_and_policy_are_one_line_of_the_first_up(name: str, said: str) -> None:
    """A person reads what may end the session before it does."""
    (line,) = words(name)
    assert said in line
    assert "\n" not in line
    assert line.endswith("."), f"no sentence: {line}"


def test_where_nothing_is_known_nothing_is_said() -> None:
    """Silence is no promise, and no guess either."""
    for name in ("SageMaker", "JupyterHub", "VS Code", "Jupyter", "a terminal"):
        assert words(name, "Jupyter") == (), f"{name} says something"


def test_the_row_that_decides_speaks_alone() -> None:
    """Kaggle is built on Colab's image: Colab's terms are not Kaggle's."""
    (line,) = words("Kaggle", "Google Colab")
    assert "Kaggle" in line
    assert "Colab" not in line


def test_an_agent_of_datadog_is_offered_the_metrics_wherever_it_is() -> None:
    """In one line with the option and the example; not where it is on already."""
    (line,) = words("JupyterHub", DATADOG)
    assert "--metrics-port" in line
    assert datadog_example() in line
    terms, offer = words("Google Colab", DATADOG)
    assert offer == line
    assert "Colab" in terms
    (agent,) = (row for row in PLATFORMS if row.name == DATADOG)
    assert first_run_notices([agent], wants_metrics=True) == (), (
        "it is offered once more"
    )


def test_the_example_for_datadog_is_where_the_offer_says(tmp_path: Path) -> None:
    """Beside the code where pip put it; in a checkout under ``examples``."""
    (PACKAGE_PARENT / datadog_example(tmp_path) / "README.md").read_text()
    (tmp_path / "datadog").mkdir()
    assert datadog_example(tmp_path) == str(tmp_path / "datadog")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("Kaggle", "Add-ons"),
        ("Google Colab", "key symbol"),
        ("Databricks", "dbutils.secrets.get"),
        ("Deepnote", "integration"),
        ("Datalore", "environment variable"),
        ("Lightning", "Secrets"),
        ("Paperspace", "secret of the project"),
        ("Codespaces", "restart the codespace"),
        ("Binder", ""),
        ("a terminal", ""),
    ],
)
def test_a_row_says_where_a_token_can_be_kept(name: str, place: str) -> None:
    """Where that is known; Binder is told to hold none."""
    (row,) = (one for one in PLATFORMS if one.name == name)
    assert place in row.secrets
    assert bool(row.secrets) == bool(place)


def test_what_is_seen_here_is_read_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment, what was imported, and IPython's variables."""
    for row in PLATFORMS:
        for mark in row.variables:
            monkeypatch.delenv(mark, raising=False)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    before = {row.name for row in detect_platforms()}
    assert not before & {"Deepnote", "VS Code", "Google Colab"}, before
    monkeypatch.setenv("DEEPNOTE_PROJECT_ID", "5f3c")
    monkeypatch.setattr(main, "__vsc_ipynb_file__", "a.ipynb", raising=False)
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    after = {row.name for row in detect_platforms()}
    assert after - before == {"Deepnote", "VS Code", "Google Colab"}, after


def test_a_file_is_looked_for_on_this_machine(tmp_path: Path) -> None:
    """Socket, file or folder: whatever is there tells."""
    mark = tmp_path / "metadata" / "resource.json"
    row = Platform(name="somewhere", files=(str(mark),))
    assert not PlatformSignals().matches(row)
    mark.parent.mkdir()
    mark.touch()
    assert PlatformSignals().matches(row)


def test_looking_imports_nothing() -> None:
    """A module is a mark only where somebody else has imported it."""
    code = (
        "import sys\n"
        "from spicy_avocado_magic.system.platforms import PLATFORMS, detect_platforms\n"
        "detect_platforms()\n"
        "print([m for row in PLATFORMS for m in row.modules if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]", ran.stdout
