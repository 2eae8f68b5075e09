"""The work of ``up``: launch a daemon or change the running one, and wait for it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from ..config.credentials import check_token, find_token
from ..config.options import UpRequest
from ..config.settings import Endpoints
from ..config.timeouts import Timeouts
from ..errors import AvocadoError, DaemonUnreachable, Interrupted, StartTimeout
from ..formatting import format_duration
from ..protocol.control_messages import (
    UpMessage,
    UpReply,
    WithdrawMessage,
    WithdrawReply,
)
from ..protocol.state import State
from ..protocol.state_folder import StateFolder, read_private, write_private
from ..system.paths import require_posix
from ..system.platform_secrets import platform_secret
from .control_client import ControlClient
from .down import stop_daemon
from .handle import Avocado
from .launch import (
    clean_up_dead_daemon,
    encode_options,
    find_daemon,
    launch,
    rehearsal_requested,
)
from .wait_ready import StateCallback, check_health, wait_until_ready

REHEARSAL_TOKEN: Final = "rehearsal-token-of-nobody"  # noqa: S105
"""Used by a rehearsal without a token; no service accepts it."""

_SHOWN_BY: Final = "%avocado_status shows its progress."
_RETRY_PAUSE_S: Final = 0.05


def run_up(
    request: UpRequest,
    *,
    show: StateCallback,
    ask: Callable[[str], str] | None = None,
    namespace: Mapping[str, Any] | None = None,
    sources: Endpoints | None = None,
    timeouts: Timeouts | None = None,
) -> Avocado:
    """Do what ``up`` does for a parsed request.

    Args:
        request: The options given.
        show: Called with each state.
        ask: Prompts for a token, if there is a user to answer.
        namespace: The notebook's variables, where a token may be.
        sources: URLs and programs of the outside world; by default the real ones.
        timeouts: By default the usual ones.

    Raises:
        AvocadoError: With problem and remedy; the changes of this call are undone.
        StartTimeout: If nothing progresses; the daemon keeps trying.
    """
    require_posix()
    is_rehearsal = request.rehearse or rehearsal_requested()
    sources = sources or Endpoints(rehearsal=is_rehearsal)
    operation = _UpOperation(
        folder=StateFolder.find(rehearsal=sources.rehearsal),
        request=request,
        show=show,
        ask=ask,
        namespace=namespace or {},
        sources=sources,
        timeouts=timeouts or Timeouts(),
    )
    known_tokens = ("", operation.stored_settings().get("metrics_token", ""))
    avocado = operation.run()
    avocado.has_new_token = avocado.metrics_token not in known_tokens
    return avocado


@dataclass(frozen=True, slots=True, kw_only=True)
class _UpOperation:
    """One call of ``up``."""

    folder: StateFolder
    request: UpRequest
    show: StateCallback
    ask: Callable[[str], str] | None
    namespace: Mapping[str, Any]
    sources: Endpoints
    timeouts: Timeouts
    began_s: float = field(default_factory=time.monotonic)

    def run(self) -> Avocado:
        """Launch a daemon, or change the running one, and wait until it is ready."""
        if self.request.restart:
            stop_daemon(self.folder, timeouts=self.timeouts, keep_wanted=True)
        while self._elapsed_s() < self.timeouts.launch_s:
            daemon = find_daemon(self.folder)
            before = self._first_state(daemon) if daemon else None
            if daemon is not None and before is not None:
                return self._change(daemon, before)
            avocado = self._launch()
            if avocado is not None:
                return avocado
            # Another launch holds the lock; its daemon will be found soon.
            time.sleep(_RETRY_PAUSE_S)
        raise DaemonUnreachable(
            "Another %avocado_up is starting the service and does not finish.",
            "Run %avocado_down, then %avocado_up.",
        )

    def _launch(self) -> Avocado | None:
        """Launch a daemon; return None if another call was faster."""
        clean_up_dead_daemon(self.folder)
        secrets_before = self.folder.read_secrets()
        has_new_key = (
            not self.folder.desired_state.exists()
            and not self.request.given.get("api_key")
        )
        given = self._with_token(is_local=bool(self.stored_settings().get("local")))
        daemon = launch(
            self.folder,
            given,
            only=self.request.only,
            sources=self.sources,
            timeouts=self.timeouts,
        )
        if daemon is None:
            return None
        outcome, headline = "accepted", f"Started in the background; {_SHOWN_BY}"
        if not self.request.background:
            self._wait(daemon, undo=lambda: self._undo_launch(secrets_before))
            outcome, headline = "launched", f"Launched in {self._elapsed_text()}."
        return Avocado(
            self.folder, outcome, headline, has_new_key=has_new_key, stops_on_exit=True
        )

    def _undo_launch(self, secrets_before: Mapping[Path, str]) -> None:
        """Stop what was launched, and restore the secrets of an earlier daemon."""
        stop_daemon(
            self.folder,
            timeouts=self.timeouts,
            keep_logs=True,
            keep_wanted=bool(secrets_before),
        )
        for path in self.folder.secrets if secrets_before else ():
            if path in secrets_before:
                write_private(path, secrets_before[path])
            else:
                path.unlink(missing_ok=True)

    def _change(self, daemon: ControlClient, before: State) -> Avocado:
        """Change the settings of the running daemon."""
        given = self._with_token(is_local=not _has_tunnel(before))
        message = UpMessage(given=encode_options(given), only=self.request.only)
        reply = daemon.post("/up", message, UpReply)
        changed = reply.changed
        undo = WithdrawMessage(change=reply.change)
        if self.request.background:
            headline = f"The service has the new settings; {_SHOWN_BY}"
            return Avocado(self.folder, "accepted", headline)
        state = self._wait(
            daemon,
            undo=lambda: daemon.post("/withdraw", undo, WithdrawReply),
            is_new=bool(changed),
        )
        if not changed:
            return Avocado(self.folder, "reused", "Reused: nothing had to change.")
        names = ", ".join(n.removesuffix("_s").replace("_", " ") for n in changed)
        is_other_key = state.api_key != before.api_key
        return Avocado(
            self.folder,
            "changed",
            f"Changed {names} in {self._elapsed_text()}.",
            has_new_key=is_other_key and state.key_is_generated,
        )

    def _wait(
        self, daemon: ControlClient, *, undo: Callable[[], object], is_new: bool = True
    ) -> State:
        """Return the ready state; undo the change if it fails or is interrupted.

        After a time-out nothing is undone: the daemon keeps trying.
        """
        try:
            state = wait_until_ready(daemon, self.show, self.timeouts)
            if is_new:
                check_health(state, self.timeouts)
        except StartTimeout:
            raise
        except KeyboardInterrupt:
            undo()
            raise Interrupted(
                "Interrupted; the changes of this cell were undone.",
                "Run %avocado_up again; downloads resume where they stopped.",
            ) from None
        except AvocadoError:
            undo()
            raise
        return state

    def _first_state(self, daemon: ControlClient) -> State | None:
        """Return the state of a daemon that may still be starting.

        None if it was about to end, and has.
        """
        tries = Retrying(
            retry=retry_if_exception_type(DaemonUnreachable),
            stop=stop_after_delay(self.timeouts.launch_s),
            wait=wait_fixed(_RETRY_PAUSE_S),
            reraise=True,
        )
        return tries(lambda: daemon.state() if find_daemon(self.folder) else None)

    def stored_settings(self) -> dict[str, Any]:
        """Return the settings of a daemon that runs, crashed or restarts."""
        text = read_private(self.folder.desired_state) or "{}"
        try:
            settings: dict[str, Any] = json.loads(text)
        except ValueError:
            return {}
        return settings

    def _with_token(self, *, is_local: bool) -> dict[str, Any]:
        """Return the given settings, with a token if a tunnel needs one."""
        given = dict(self.request.given)
        if not given.get("token"):
            will_be_local = bool(given.get("local", is_local))
            if will_be_local or self.folder.agent_config.exists():
                return given
            given["token"] = self._find_token()
        if given["token"]:
            given["token"] = check_token(given["token"])
        return given

    def _find_token(self) -> str:
        if self.sources.rehearsal:
            return REHEARSAL_TOKEN
        return find_token(self.namespace, os.environ, platform_secret, self.ask)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self.began_s

    def _elapsed_text(self) -> str:
        return format_duration(self._elapsed_s())


def _has_tunnel(state: State) -> bool:
    return any(s.name == "tunnel" and s.phase != "off" for s in state.stages)
