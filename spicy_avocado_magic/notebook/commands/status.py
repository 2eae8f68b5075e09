"""``%avocado_status``: show the service once, as a dict, or while it runs."""

from __future__ import annotations

import time
from typing import Any, Final

from ...client import api, wait_ready
from ...client.last_run import RecentError, last_exit_report, recent_errors
from ...config.timeouts import Timeouts
from ...protocol.json_codec import to_json
from ...protocol.state import State
from ...protocol.state_folder import StateFolder
from ...system.redaction import mask
from ..display.status import render_status
from ..display.terminal import TerminalScreen
from ..display.updatable import UpdatableOutput
from ..session import NOTHING_RUNS, MagicCall, print_line, rebind_handle

ENDED: Final = "The service has stopped."
_SECRETS: Final = ("api_key", "metrics_token")


def run(call: MagicCall) -> dict[str, Any] | None:
    """Show the service; an interrupt ends ``--watch`` quietly.

    Returns:
        With ``--json`` the state, its secrets masked, and the last errors, newest
        last; empty where nothing runs.

    Raises:
        UsageError: If the line is wrong.
    """
    flags = call.parse()
    state = api.status(rehearse=flags["rehearse"])
    if state is None:
        report = last_exit_report(rehearse=flags["rehearse"])
        is_rehearsal = report.rehearsal if report else flags["rehearse"]
        print_line(report.text if report else NOTHING_RUNS, rehearsal=is_rehearsal)
        return {} if flags["json"] else None
    rebind_handle(call.shell, rehearsal=state.rehearsal)
    if flags["json"]:
        return _without_secrets(state) | {"last_errors": to_json(_errors_of(state))}
    if flags["watch"]:
        _watch(StatusView(in_notebook=call.in_notebook), rehearse=flags["rehearse"])
        return None
    output = render_status(state, _errors_of(state))
    if call.in_notebook:
        UpdatableOutput().update(output)
    else:
        print_line(output.text)
    return None


def _watch(view: StatusView, *, rehearse: bool) -> None:
    """Show the service for as long as it runs, or until interrupted."""
    drawn_at_s = float("-inf")
    try:
        for state in wait_ready.watch(rehearse=rehearse):
            if time.monotonic() - drawn_at_s >= Timeouts().watch_every_s:
                drawn_at_s = time.monotonic()
                view.show(state)
    except KeyboardInterrupt:
        view.close()
        return
    view.close()
    print_line(ENDED)


def _without_secrets(state: State) -> dict[str, Any]:
    values: dict[str, Any] = to_json(state)
    for name in _SECRETS:
        values[name] = mask(values[name]) if values[name] else ""
    return values


def _errors_of(state: State) -> tuple[RecentError, ...]:
    return recent_errors(StateFolder.find(rehearsal=state.rehearsal))


class StatusView:
    """The status while it is watched: a display, a terminal's last lines, or a pipe."""

    def __init__(self, *, in_notebook: bool) -> None:
        self._output = UpdatableOutput() if in_notebook else None
        self._screen = TerminalScreen()
        self._last: State | None = None
        self._errors: tuple[RecentError, ...] = ()
        self._has_changed = False

    def show(self, state: State) -> None:
        """Replace what is shown; in a pipe, print a state only if it has changed."""
        last, self._last = self._last or State(sequence=-1), state
        is_event = last.sequence != state.sequence
        is_changed = is_event or last.traffic.statuses != state.traffic.statuses
        # The log line of a failed request may be written just after it is counted.
        if is_changed or self._has_changed:
            self._errors = _errors_of(state)
        self._has_changed = is_changed
        output = render_status(state, self._errors, is_moving=True)
        if self._output is not None:
            self._output.update(output)
        elif self._screen.is_terminal:
            self._screen.replace(output.text.splitlines())
        elif is_event:
            print_line(output.text)

    def close(self) -> None:
        """Leave the last state as ``%avocado_status`` shows it, with its folds."""
        self._screen.leave()
        if self._output is not None and self._last is not None:
            self._output.update(render_status(self._last, self._errors))
