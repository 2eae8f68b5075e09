"""What ``%avocado_status`` does: show a service once, as a dict, or while it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from ...config.timeouts import Timeouts
from ...errors import UsageError
from ...protocol.json_codec import to_json
from ...protocol.state import State
from ...protocol.state_folder import StateFolder
from ...system.redaction import mask
from ..display.status import status_picture
from ..display.terminal import TerminalScreen
from ..display.updatable import UpdatableOutput
from ..display.view import print_line
from ..line.commands import STATUS
from ..line.parser import parse_flags
from ..session import is_notebook
from ..user_namespace import rebind_handle

if TYPE_CHECKING:
    from ...client.recent_errors import RecentError

ENDED: Final = "The service has ended."
_SECRETS: Final = ("api_key", "metrics_token")


def run_status(
    line: str, shell: Any, *, nothing_runs: str, policy: Timeouts | None = None
) -> dict[str, Any] | None:
    """Do what a line asks for; an interrupt ends the watching, quietly.

    Args:
        line: All that follows the magic's name.
        shell: The session, which gets its handle back.
        nothing_runs: What to say where no service runs and none has.
        policy: The waits.

    Returns:
        With ``--json`` the state, its secrets masked, and what went wrong, the latest
        last; nothing where none runs.

    Raises:
        UsageError: If it cannot be right.
    """
    asked = parse_flags(line, STATUS)
    if asked is None:
        print_line(STATUS.help())
        return None
    if asked["json"] and asked["watch"]:
        raise UsageError(
            "--json returns a dict once, and --watch shows what comes.",
            "Use one of them.",
        )
    from ...client import api, last_exit

    state = api.status(rehearse=asked["rehearse"])
    if state is None:
        last = last_exit.last_exit_report(rehearse=asked["rehearse"])
        is_rehearsal = last.rehearsal if last else asked["rehearse"]
        print_line(last.text if last else nothing_runs, rehearsal=is_rehearsal)
        return {} if asked["json"] else None
    rebind_handle(shell, rehearsal=state.rehearsal)
    if asked["json"]:
        errors = to_json(_errors_of(state))
        return _without_secrets(state) | {"last_errors": errors}
    in_notebook = is_notebook(shell)
    if asked["watch"]:
        _watch(asked["rehearse"], _Place(in_notebook=in_notebook), policy or Timeouts())
        return None
    picture = status_picture(state, _errors_of(state))
    if in_notebook:
        UpdatableOutput().update(picture)
    else:
        print_line(picture.text)
    return None


def _watch(rehearse: bool, place: _Place, policy: Timeouts) -> None:
    """Show the service for as long as it runs, or until interrupted."""
    from ...client.wait_ready import watch

    drawn_at = float("-inf")
    try:
        for state in watch(rehearse=rehearse):
            if time.monotonic() - drawn_at >= policy.watch_every_s:
                drawn_at = time.monotonic()
                place.show(state)
    except KeyboardInterrupt:
        place.leave()
        return
    place.leave()
    print_line(ENDED)


def _without_secrets(state: State) -> dict[str, Any]:
    plain: dict[str, Any] = to_json(state)
    for name in _SECRETS:
        plain[name] = mask(plain[name]) if plain[name] else ""
    return plain


def _errors_of(state: State) -> tuple[RecentError, ...]:
    from ...client.recent_errors import recent_errors

    return recent_errors(StateFolder.find(rehearsal=state.rehearsal))


class _Place:
    """Where one watches: a display, a terminal's last lines, or a pipe."""

    def __init__(self, *, in_notebook: bool) -> None:
        self._drawing = UpdatableOutput() if in_notebook else None
        self._screen = TerminalScreen()
        self._last: State | None = None
        self._errors: tuple[RecentError, ...] = ()
        self._has_changed = False

    def show(self, state: State) -> None:
        """Show a state in place of the last one; in a pipe, what has happened."""
        last, self._last = self._last or State(sequence=-1), state
        is_news = last.sequence != state.sequence
        is_changed = is_news or last.traffic.statuses != state.traffic.statuses
        # The line of a request that failed may come a moment after it was counted.
        if is_changed or self._has_changed:
            self._errors = _errors_of(state)
        self._has_changed = is_changed
        picture = status_picture(state, self._errors, is_moving=True)
        if self._drawing is not None:
            self._drawing.update(picture)
        elif self._screen.is_terminal:
            self._screen.replace(picture.text.splitlines())
        elif is_news:
            print_line(picture.text)

    def leave(self) -> None:
        """Leave the last state as it is shown once, with its folds."""
        self._screen.leave()
        if self._drawing is not None and self._last is not None:
            self._drawing.update(status_picture(self._last, self._errors))
