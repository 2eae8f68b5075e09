"""Fixtures: an IPython session without a terminal, and a client that starts nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import spicy_avocado_magic
from spicy_avocado_magic.client import api, up
from spicy_avocado_magic.client.down import DownResult
from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.config.options import UpRequest
from spicy_avocado_magic.protocol.state import ModelState, Phase, Progress, Stage, State
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.system.platforms import PLATFORMS

KEY = "avocado-0123456789abcdef"
READY = State(
    pid=1,
    rehearsal=False,
    url="https://name.ngrok.app",
    local_url="http://127.0.0.1:5000",
    api_key=KEY,
    key_is_generated=True,
    engine="Ollama 0.34.1",
    compute="CPU",
    warnings=("No GPU was found.",),
    stages=(
        Stage(
            name="pull",
            component="models",
            phase=Phase.READY,
            detail="llama3: 4.7 GB",
            elapsed_s=2.0,
            progress=Progress(done_bytes=47, total_bytes=47),
        ),
    ),
    models=(ModelState(name="llama3", phase=Phase.READY),),
    log_path="host.log",
)


@dataclass
class Service:
    """A fake of the client: it records requests, and returns a prepared state."""

    folder: StateFolder
    state: State | None = None
    outcome: str = "launched"
    error: BaseException | None = None
    requests: list[UpRequest] = field(default_factory=list)
    asks: list[Any] = field(default_factory=list)
    namespaces: list[Mapping[str, Any]] = field(default_factory=list)

    def bring_up(
        self,
        request: UpRequest,
        *,
        show: Callable[[State], None],
        ask: Any = None,
        namespace: Mapping[str, Any],
    ) -> Avocado:
        """Return a handle at once, or raise the prepared error."""
        self.requests.append(request)
        self.asks.append(ask)
        self.namespaces.append(namespace)
        if self.error is not None:
            raise self.error
        self.state = replace(READY, rehearsal=request.rehearse)
        show(self.state)
        is_new = self.outcome in ("launched", "accepted") and not request.restart
        headline = f"{self.outcome}, says the service."
        return Avocado(self.folder, self.outcome, headline, has_new_key=is_new)

    def status(self, *, rehearse: bool = False) -> State | None:
        """Return the prepared state."""
        return self.state

    def down(
        self, *, rehearse: bool = False, purge: bool = False
    ) -> tuple[DownResult, ...]:
        """Stop the service."""
        if self.state is None:
            return ()
        is_rehearsal, self.state = self.state.rehearsal, None
        result = DownResult(
            was_running=True,
            processes=("host", "engine"),
            seconds=1.25,
            rehearsal=is_rehearsal,
        )
        return (result,)


@dataclass
class Session:
    """A notebook session that runs cells and returns their outputs."""

    shell: InteractiveShell
    capsys: pytest.CaptureFixture[str]

    def run(self, cell: str) -> Any:
        """Run a cell that must succeed; return its value."""
        result = self.shell.run_cell(cell)
        result.raise_error()
        return result.result

    def fail(self, cell: str) -> BaseException:
        """Run a cell that must fail; return its error."""
        error: BaseException | None = self.shell.run_cell(cell).error_in_exec
        assert error is not None, f"this cell did not fail: {cell}"
        return error

    def printed(self) -> str:
        """Return what was printed since the last call."""
        return self.capsys.readouterr().out

    @property
    def displays(self) -> list[dict[str, Any]]:
        """What was displayed so far, updates included."""
        outputs: list[dict[str, Any]] = self.shell.display_pub.outputs
        return outputs

    def pretend_to_be_a_kernel(self, *, allow_stdin: bool = False) -> None:
        """Make the session look like one of ipykernel."""
        self.shell.kernel = SimpleNamespace(_allow_stdin=allow_stdin)


@pytest.fixture
def bare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Session]:
    """A session without the extension, in folders of its own."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    marks = [name for row in PLATFORMS for name in row.variables]
    for name in ("NGROK_AUTHTOKEN", *marks):
        monkeypatch.delenv(name, raising=False)
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.display_pub = CapturingDisplayPublisher(parent=shell)
    capsys.readouterr()
    yield Session(shell, capsys)
    InteractiveShell.clear_instance()


@pytest.fixture
def service(bare: Session, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Replace the client that the magics call by a fake."""
    fake = Service(StateFolder.find(rehearsal=False))
    monkeypatch.setattr(up, "run_up", fake.bring_up)
    monkeypatch.setattr(api, "status", fake.status)
    monkeypatch.setattr(api, "down", fake.down)
    monkeypatch.setattr(Avocado, "status", lambda _handle: fake.state)
    return fake


@pytest.fixture
def session(bare: Session, service: Service) -> Session:
    """A session with the extension loaded and no service running."""
    spicy_avocado_magic.load_ipython_extension(bare.shell)
    return bare
