"""``%avocado_logs``: show the end of the logs, or follow them."""

from __future__ import annotations

import contextlib
from typing import Final

from ...client import log_reader
from ...client.launch import candidate_state_folders
from ...config.timeouts import Timeouts
from ..session import MagicCall, print_line

NO_LOGS: Final = "There are no logs: nothing has run since the last %avocado_down."


def run(call: MagicCall) -> None:
    """Print the last lines of the logs; an interrupt ends ``--follow`` quietly.

    Raises:
        UsageError: If the line is wrong.
        SecretMissing: If a ``$NAME`` is not defined anywhere.
    """
    values = call.parse()
    component = values["component"]
    folder = log_reader.most_recent_state_folder(
        candidate_state_folders(rehearse=values["rehearse"])
    )
    is_rehearsal = folder.path.name == "rehearsal"
    count = log_reader.LINES_SHOWN if values["n"] is None else values["n"]
    if values["follow"]:
        with contextlib.suppress(KeyboardInterrupt):
            is_first = is_rehearsal
            for line in log_reader.follow_logs(folder, component, count, Timeouts()):
                print_line(str(line), rehearsal=is_first)
                is_first = False
        return
    lines = log_reader.read_logs(folder, component, count)
    print_line("\n".join(map(str, lines)) if lines else NO_LOGS, rehearsal=is_rehearsal)
