"""The ``avocado`` handle: the running service, as a notebook or a script holds it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..config.timeouts import Timeouts
from ..errors import AvocadoError
from ..protocol.state import ApiKeyState, State
from ..protocol.state_folder import StateFolder
from ..system.redaction import Secret
from .api_keys import add_key, api_key_request, read_keys, revoke_key
from .chat import require_running
from .control_client import ControlClient
from .create_model import create_model
from .down import DownResult, stop_daemon
from .launch import state_of
from .log_reader import LINES_SHOWN, read_logs
from .outcome import Failed
from .sdk_clients import anthropic_client, ollama_client, openai_client
from .snippets import Snippets, snippets
from .state_text import connection_details

if TYPE_CHECKING:
    from anthropic import Anthropic
    from ollama import Client as Ollama
    from openai import OpenAI


class Avocado:
    """A running service; every attribute asks the host, so it is always true.

    Attributes:
        outcome: How the ``up`` that returned this handle went: ``launched``,
            ``reused``, ``changed``, ``accepted``, or ``restored`` by loading the
            extension.
        headline: The same in a sentence.
        has_new_key: Whether that ``up`` made the key, to be shown in full once.
        has_new_token: Whether it made the token for scrapers, to be shown likewise.
    """

    def __init__(
        self,
        folder: StateFolder,
        outcome: str,
        headline: str = "",
        *,
        has_new_key: bool = False,
        is_mine: bool = False,
    ) -> None:
        self._folder = folder
        self._is_mine = is_mine
        self.outcome = outcome
        self.headline = headline
        self.has_new_key = has_new_key
        self.has_new_token = False

    @property
    def url(self) -> str:
        """The public URL; empty under ``--local`` and while there is none."""
        return self._state().url

    @property
    def local_url(self) -> str:
        """The gateway on this machine."""
        return self._state().local_url

    @property
    def api_key(self) -> str:
        """What clients send as bearer token; empty under ``--no-auth``."""
        return self._state().api_key

    @property
    def metrics_url(self) -> str:
        """Where a scraper gets the metrics; empty without ``--metrics-port``."""
        return self._state().metrics_url

    @property
    def metrics_token(self) -> str:
        """What a scraper sends as bearer token; it reads the metrics, no more."""
        return self._state().metrics_token

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models that are wanted."""
        return tuple(model.name for model in self._state().models)

    def keys(self) -> tuple[ApiKeyState, ...]:
        """Return every key with its limits and use, the owner's first; no secrets.

        Raises:
            UsageError: If the service has ended.
        """
        return read_keys(self._folder)

    def add_key(
        self,
        name: str,
        *,
        rpm: int | None = None,
        tokens: int | None = None,
        models: Sequence[str] | str | None = None,
        expires: str | float | None = None,
        manage: bool = False,
    ) -> Secret:
        """Make a key for somebody else, which opens at once.

        Args:
            name: By which it is listed and revoked.
            rpm: The most requests a minute.
            tokens: The most tokens, in and out, over the key's lifetime.
            models: The only ones it may use; by default all that are served.
            expires: After how long, such as ``"2h"`` or a number of seconds.
            manage: Whether it may pull, create, copy and delete models.

        Returns:
            The key, which is told this once; ``.open()`` gives its text.

        Raises:
            UsageError: If there can be no such key, or the service has ended.
        """
        return add_key(
            self._folder,
            api_key_request(
                name,
                rpm=rpm,
                tokens=tokens,
                models=models,
                expires=expires,
                manage=manage,
            ),
        )

    def revoke_key(self, name: str) -> None:
        """Take a key back: it opens no more, and what is open with it ends.

        Raises:
            UsageError: If there is no such key, or the service has ended.
        """
        revoke_key(self._folder, name)

    def status(self) -> State | None:
        """Return everything about the service, or None once it has ended."""
        return state_of(self._folder)

    def logs(self, component: str = "", count: int = LINES_SHOWN) -> list[str]:
        """Return the last lines of what happened, the latest last; as ``logs()``.

        Raises:
            UsageError: With the nearest component, or if there cannot be so many.
        """
        return [str(line) for line in read_logs(self._folder, component, count)]

    def create_model(self, name: str, modelfile: str) -> None:
        """Make a model from a Modelfile's text by ``ollama create``, and serve it.

        Raises:
            UsageError: If name or Modelfile cannot be right, or nothing runs.
            AvocadoError: If it cannot be made.
        """
        from .wait_ready import wait_until_ready

        create_model(self._folder, name, modelfile)
        host = ControlClient(self._folder.socket)
        host.post("/up", given={"models": [name]}, only=False)
        result = wait_until_ready(host, lambda _state: None, Timeouts())
        if isinstance(result, Failed):
            raise result.error

    def snippets(self, *, show_key: bool = False) -> Snippets:
        """Return code for the usual clients, filled in; ``print`` shows all of it.

        Args:
            show_key: Whether a key that was made for this service may be in it; else,
                and where you gave the key, it is the variable ``AVOCADO_API_KEY``.
        """
        return snippets(require_running(self.status()), show_key=show_key)

    def openai(self) -> OpenAI:
        """Return a client of the ``openai`` package, for this machine's own use.

        Raises:
            UserActionRequired: If the package is not installed, or the service
                has ended.
        """
        return openai_client(self._state())

    def ollama(self) -> Ollama:
        """Return a client of the ``ollama`` package; as ``openai()``."""
        return ollama_client(self._state())

    def anthropic(self) -> Anthropic:
        """Return a client of the ``anthropic`` package; as ``openai()``."""
        return anthropic_client(self._state())

    def down(self) -> DownResult:
        """End the service and all that belongs to it."""
        return stop_daemon(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_mine:
            self.down()

    def __repr__(self) -> str:
        state = State()
        with contextlib.suppress(AvocadoError):
            state = self._state()
        if not state.pid:
            return "<avocado: not running>"
        return f"<avocado {state.url or state.local_url}>"

    def _repr_pretty_(self, printer: object, _cycle: bool) -> None:
        """Show URL and a masked key where IPython shows a value."""
        state = State()
        with contextlib.suppress(AvocadoError):
            state = self._state()
        text = connection_details(state, show_key=False) if state.pid else repr(self)
        printer.text(text)  # type: ignore[attr-defined]  # IPython's printer

    def _state(self) -> State:
        return self.status() or State()
