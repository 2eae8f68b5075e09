"""Bring a host to what is wanted: launch it, or change the one that runs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, assert_never

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from ..config.credentials import check_token, find_token
from ..config.options import UpRequest
from ..config.settings import Endpoints
from ..config.timeouts import Timeouts
from ..errors import AvocadoError, DaemonUnreachable, Interrupted, StartTimeout
from ..formatting import format_duration
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
from .outcome import Accepted, Failed, Launched, Outcome, Reconfigured, Reused, TimedOut
from .wait_ready import StateCallback, check_health, wait_until_ready

REHEARSAL_TOKEN: Final = "rehearsal-token-of-nobody"  # noqa: S105
"""Stands in where a rehearsal was given no token; it opens nothing."""

_ANOTHER_LOOK_S: Final = 0.05


def run_up(
    wish: UpRequest,
    *,
    show: StateCallback,
    ask: Callable[[str], str] | None = None,
    namespace: Mapping[str, Any] | None = None,
    sources: Endpoints | None = None,
    policy: Timeouts | None = None,
) -> Avocado:
    """Do what ``up`` does for a parsed wish.

    Args:
        wish: What was asked for.
        show: Called with each state.
        ask: Prompts for a token where a person is there.
        namespace: The notebook's variables, where a token may be.
        sources: Where everything comes from; by default the real places.
        policy: The waits.

    Raises:
        AvocadoError: With problem and remedy; what this call began is taken back.
    """
    require_posix()
    policy = policy or Timeouts()
    is_rehearsal = wish.rehearse or rehearsal_requested()
    sources = sources or Endpoints(rehearsal=is_rehearsal)
    folder = StateFolder.find(rehearsal=sources.rehearsal)
    bringing = _UpOperation(
        folder=folder,
        wish=wish,
        show=show,
        ask=ask,
        namespace=namespace or {},
        sources=sources,
        policy=policy,
    )
    known_tokens = ("", bringing.stored_settings().get("metrics_token", ""))
    avocado = _handle(folder, bringing.run(), policy)
    avocado.has_new_token = avocado.metrics_token not in known_tokens
    return avocado


def _handle(folder: StateFolder, outcome: Outcome, policy: Timeouts) -> Avocado:
    """Word an outcome, or raise what it is.

    Raises:
        AvocadoError: For what failed.
        StartTimeout: If nothing moved for the policy's time.
    """
    match outcome:
        case Failed(error=error):
            raise error
        case TimedOut(waiting_for=stages):
            raise StartTimeout(
                f"Nothing has moved for {format_duration(policy.stalled_s)} "
                f"({stages}); the background process goes on trying.",
                "Look again with %avocado_status, or give up with %avocado_down.",
            )
        case Launched(seconds=seconds, has_new_key=is_new):
            headline = f"Launched in {format_duration(seconds)}."
            return Avocado(
                folder, "launched", headline, has_new_key=is_new, is_mine=True
            )
        case Reused():
            return Avocado(folder, "reused", "Reused: all was as wanted already.")
        case Reconfigured(what=what, seconds=seconds, has_new_key=is_new):
            words = (name.removesuffix("_s").replace("_", " ") for name in what)
            names = ", ".join(words)
            headline = f"Changed {names} in {format_duration(seconds)}."
            return Avocado(folder, "changed", headline, has_new_key=is_new)
        case Accepted(launched=launched, has_new_key=is_new):
            how = "Started in the background" if launched else "The service was told"
            headline = f"{how}; %avocado_status tells how it is."
            return Avocado(
                folder, "accepted", headline, has_new_key=is_new, is_mine=launched
            )
        case _:
            assert_never(outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class _UpOperation:
    """One ``up`` on its way."""

    folder: StateFolder
    wish: UpRequest
    show: StateCallback
    ask: Callable[[str], str] | None
    namespace: Mapping[str, Any]
    sources: Endpoints
    policy: Timeouts
    began: float = field(default_factory=time.monotonic)

    def run(self) -> Outcome:
        """Launch a host, or change the one that runs, and follow it."""
        if self.wish.restart:
            stop_daemon(self.folder, policy=self.policy, keep_wanted=True)
        while self._seconds() < self.policy.launch_s:
            host = find_daemon(self.folder)
            before = self._first_state(host) if host else None
            if host is not None and before is not None:
                return self._change(host, before)
            outcome = self._launch()
            if outcome is not None:
                return outcome
            # Another launch holds the lock, and will be found here in a moment.
            time.sleep(_ANOTHER_LOOK_S)
        raise DaemonUnreachable(
            "Another launch is under way and does not come to an end.",
            "Run %avocado_down, then %avocado_up.",
        )

    def _launch(self) -> Outcome | None:
        clean_up_dead_daemon(self.folder)
        left = self.folder.read_secrets()
        has_new_key = (
            not self.folder.desired_state.exists()
            and not self.wish.given.get("api_key")
        )
        given = self._with_token(is_local=bool(self.stored_settings().get("local")))
        host = launch(
            self.folder,
            given,
            only=self.wish.only,
            sources=self.sources,
            policy=self.policy,
        )
        if host is None:
            return None
        if self.wish.background:
            state = host.state()
            return Accepted(state=state, launched=True, has_new_key=has_new_key)
        result = self._follow(host, lambda: self._end_again(left))
        if not isinstance(result, State):
            return result
        return Launched(state=result, seconds=self._seconds(), has_new_key=has_new_key)

    def _end_again(self, left: Mapping[Path, str]) -> None:
        """End what was launched; what a host of before had left is there again."""
        stop_daemon(
            self.folder, policy=self.policy, keep_logs=True, keep_wanted=bool(left)
        )
        for path in self.folder.secrets if left else ():
            if path in left:
                write_private(path, left[path])
            else:
                path.unlink(missing_ok=True)

    def _change(self, host: ControlClient, before: State) -> Outcome:
        given = self._with_token(is_local=not _has_tunnel(before))
        answer = host.post("/up", given=encode_options(given), only=self.wish.only)
        what, number = tuple(answer["changed"]), answer["change"]
        if self.wish.background:
            return Accepted(state=host.state(), launched=False, has_new_key=False)
        result = self._follow(
            host, lambda: host.post("/withdraw", change=number), is_new=bool(what)
        )
        if not isinstance(result, State):
            return result
        if not what:
            return Reused(state=result)
        is_other = result.api_key != before.api_key
        return Reconfigured(
            state=result,
            what=what,
            seconds=self._seconds(),
            has_new_key=is_other and result.key_is_generated,
        )

    def _follow(
        self, host: ControlClient, undo: Callable[[], object], *, is_new: bool = True
    ) -> State | Failed | TimedOut:
        """Follow what was begun; take it back if it fails or is interrupted."""
        try:
            result = wait_until_ready(host, self.show, self.policy)
            if is_new and isinstance(result, State):
                check_health(result, self.policy)
        except KeyboardInterrupt:
            undo()
            raise Interrupted(
                "Interrupted; what this cell had begun was taken back.",
                "Run %avocado_up again; downloads go on where they were.",
            ) from None
        except AvocadoError:
            undo()
            raise
        if isinstance(result, Failed):
            undo()
        return result

    def _first_state(self, host: ControlClient) -> State | None:
        """Return the state of a host that may just be being started.

        None if it was rather about to end, and has.
        """
        tries = Retrying(
            retry=retry_if_exception_type(DaemonUnreachable),
            stop=stop_after_delay(self.policy.launch_s),
            wait=wait_fixed(_ANOTHER_LOOK_S),
            reraise=True,
        )
        return tries(lambda: host.state() if find_daemon(self.folder) else None)

    def stored_settings(self) -> dict[str, Any]:
        """Return the settings of a host that runs, died or restarts."""
        try:
            left: dict[str, Any] = json.loads(
                read_private(self.folder.desired_state) or "{}"
            )
        except ValueError:
            return {}
        return left

    def _with_token(self, *, is_local: bool) -> dict[str, Any]:
        """Return what was given, with a token wherever a tunnel will need one."""
        given = dict(self.wish.given)
        if not given.get("token"):
            will_be_local = bool(given.get("local", is_local))
            if will_be_local or self.folder.agent_config.exists():
                return given
            given["token"] = self._find_token()
        given["token"] = check_token(given["token"])
        return given

    def _find_token(self) -> str:
        if self.sources.rehearsal:
            return REHEARSAL_TOKEN
        return find_token(self.namespace, os.environ, platform_secret, self.ask)

    def _seconds(self) -> float:
        return time.monotonic() - self.began


def _has_tunnel(state: State) -> bool:
    return any(s.name == "tunnel" and s.phase != "off" for s in state.stages)
