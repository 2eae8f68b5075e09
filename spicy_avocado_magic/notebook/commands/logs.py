"""What ``%avocado_logs`` does: show the end of the logs, or follow them."""

from __future__ import annotations

import contextlib
from typing import Final

from ...config.timeouts import Timeouts
from ..display.view import print_line
from ..line.commands import LOGS
from ..line.logs_line import read_logs_line
from ..line.variables import VariableResolver

NO_LOGS: Final = "There are no logs: nothing has run since the last %avocado_down."


def run_logs(
    line: str, names: VariableResolver, policy: Timeouts | None = None
) -> None:
    """Do what a line asks for; an interrupt ends the following, quietly.

    Args:
        line: All that follows the magic's name.
        names: Where ``$NAME`` is looked up.
        policy: The waits.

    Raises:
        UsageError: If it cannot be right.
        SecretMissing: If a ``$NAME`` is nowhere.
    """
    asked = read_logs_line(line, names)
    if asked is None:
        print_line(LOGS.help())
        return
    from ...client import log_reader
    from ...client.launch import candidate_state_folders

    folder = log_reader.most_recent_state_folder(
        candidate_state_folders(rehearse=asked.rehearse)
    )
    is_rehearsal = folder.path.name == "rehearsal"
    count = log_reader.LINES_SHOWN if asked.count is None else asked.count
    if asked.follow:
        policy = policy or Timeouts()
        with contextlib.suppress(KeyboardInterrupt):
            is_first = is_rehearsal
            for one in log_reader.follow_logs(folder, asked.component, count, policy):
                print_line(str(one), rehearsal=is_first)
                is_first = False
        return
    lines = log_reader.read_logs(folder, asked.component, count)
    print_line("\n".join(map(str, lines)) if lines else NO_LOGS, rehearsal=is_rehearsal)
