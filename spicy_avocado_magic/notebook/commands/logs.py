"""What ``%avocado_logs`` does: show the end of the logs, or follow them."""

from __future__ import annotations

import contextlib
from typing import Final

from ...config.timeouts import Policy
from ..display.view import say
from ..line.commands import LOGS
from ..line.logs_line import read_logs_line
from ..line.variables import Names

NO_LOGS: Final = "There are no logs: nothing has run since the last %avocado_down."


def run_logs(line: str, names: Names, policy: Policy | None = None) -> None:
    """Do what a line asks for; an interrupt ends the following, quietly.

    Args:
        line: All that follows the magic's name.
        names: Where ``$NAME`` is looked up.
        policy: The waits.

    Raises:
        UsageMistake: If it cannot be right.
        SecretMissing: If a ``$NAME`` is nowhere.
    """
    asked = read_logs_line(line, names)
    if asked is None:
        say(LOGS.help())
        return
    from ...client import log_reader
    from ...client.launch import state_folders

    folder = log_reader.folder_with_logs(state_folders(rehearse=asked.rehearse))
    is_rehearsal = folder.path.name == "rehearsal"
    count = log_reader.LINES_SHOWN if asked.count is None else asked.count
    if asked.follow:
        policy = policy or Policy()
        with contextlib.suppress(KeyboardInterrupt):
            is_first = is_rehearsal
            for one in log_reader.follow_logs(folder, asked.component, count, policy):
                say(str(one), rehearsal=is_first)
                is_first = False
        return
    lines = log_reader.read_logs(folder, asked.component, count)
    say("\n".join(map(str, lines)) if lines else NO_LOGS, rehearsal=is_rehearsal)
