"""The ``avocado`` handle: the running service in a notebook or a script."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..config.timeouts import Timeouts
from ..errors import AvocadoError
from ..protocol.control_messages import UpMessage, UpReply
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
from .sdk_clients import anthropic_client, ollama_client, openai_client
from .snippets import Snippets, snippets
from .state_text import connection_details

if TYPE_CHECKING:
    from anthropic import Anthropic
    from ollama import Client as Ollama
    from openai import OpenAI


class Avocado:
    """A service; every property asks the daemon, so that it is never out of date.

    Attributes:
        outcome: Result of the ``up`` that returned this handle: ``launched``,
            ``reused``, ``changed``, ``accepted``, or ``restored`` by loading the
            extension.
        headline: The same in a sentence.
        has_new_key: Whether that ``up`` generated the key, which is then shown once.
        has_new_token: Whether it generated the token for scrapers.
    """

    def __init__(
        self,
        folder: StateFolder,
        outcome: str,
        headline: str = "",
        *,
        has_new_key: bool = False,
        stops_on_exit: bool = False,
    ) -> None:
        self._folder = folder
        self._stops_on_exit = stops_on_exit
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
        """URL of the gateway on this machine."""
        return self._state().local_url

    @property
    def api_key(self) -> str:
        """The bearer token that clients send; empty under ``--no-auth``."""
        return self._state().api_key

    @property
    def metrics_url(self) -> str:
        """URL of the metrics for a scraper; empty without ``--metrics-port``."""
        return self._state().metrics_url

    @property
    def metrics_token(self) -> str:
        """The bearer token of a scraper; it gives access to the metrics alone."""
        return self._state().metrics_token

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the desired models, whether ready or not."""
        return tuple(model.name for model in self._state().models)

    def keys(self) -> tuple[ApiKeyState, ...]:
        """Return every key with its limits and usage, the owner's first; no secrets.

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
        """Create a key for somebody else; it is valid at once.

        Args:
            name: Under which it is listed and revoked.
            rpm: The most requests a minute.
            tokens: The most tokens, in and out, over the key's lifetime.
            models: The only ones it may use; by default all that are served.
            expires: After how long, such as ``"2h"`` or a number of seconds.
            manage: Whether it may pull, create, copy and delete models.

        Returns:
            The key, which cannot be read again; ``.get_secret_value()`` is its text.

        Raises:
            UsageError: If name or limits are not valid, or the service has ended.
        """
        request = api_key_request(
            name,
            rpm=rpm,
            tokens=tokens,
            models=models,
            expires=expires,
            manage=manage,
        )
        return add_key(self._folder, request)

    def revoke_key(self, name: str) -> None:
        """Revoke a key at once; its requests in flight are cancelled.

        Raises:
            UsageError: If no key has this name, or the service has ended.
        """
        revoke_key(self._folder, name)

    def status(self) -> State | None:
        """Return the state of the service, or None if it has ended."""
        return state_of(self._folder)

    def logs(self, component: str = "", count: int = LINES_SHOWN) -> list[str]:
        """Return the last lines of the logs, the latest last; as ``logs()``.

        Raises:
            UsageError: For an unknown component, or a wrong count.
        """
        return [str(line) for line in read_logs(self._folder, component, count)]

    def create_model(self, name: str, modelfile: str) -> None:
        """Create a model from a Modelfile's text by ``ollama create``, and serve it.

        Raises:
            UsageError: If name or Modelfile is not valid, or nothing runs.
            AvocadoError: If it cannot be created or loaded.
        """
        from .wait_ready import wait_until_ready

        create_model(self._folder, name, modelfile)
        daemon = ControlClient(self._folder.socket)
        daemon.post("/up", UpMessage(given={"models": [name]}, only=False), UpReply)
        wait_until_ready(daemon, lambda _state: None, Timeouts())

    def snippets(self, *, show_key: bool = False) -> Snippets:
        """Return code for common clients, filled in; ``print`` shows all of it.

        Args:
            show_key: Whether the code may contain a generated key; otherwise, and for
                a key of your own, it reads the variable ``AVOCADO_API_KEY``.
        """
        return snippets(require_running(self.status()), show_key=show_key)

    def openai(self) -> OpenAI:
        """Return a client of the ``openai`` package, for use on this machine.

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
        """Stop the service and all its processes."""
        return stop_daemon(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stops_on_exit:
            self.down()

    def __repr__(self) -> str:
        state = State()
        with contextlib.suppress(AvocadoError):
            state = self._state()
        if not state.pid:
            return "<avocado: not running>"
        return f"<avocado {state.url or state.local_url}>"

    def _repr_pretty_(self, printer: object, _cycle: bool) -> None:
        """Print URL and a masked key where IPython shows the value."""
        state = State()
        with contextlib.suppress(AvocadoError):
            state = self._state()
        text = connection_details(state, show_key=False) if state.pid else repr(self)
        printer.text(text)  # type: ignore[attr-defined]  # IPython's printer

    def _state(self) -> State:
        return self.status() or State()
