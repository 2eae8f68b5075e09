"""What ``%avocado_keys`` does: list, add, revoke."""

from __future__ import annotations

from ...protocol.state_folder import StateFolder
from ..display.view import print_line
from ..line.commands import KEYS
from ..line.keys_line import read_keys_line
from ..line.variables import VariableResolver


def run_keys(
    line: str, names: VariableResolver, *, nothing_runs: str, in_notebook: bool
) -> None:
    """Do what a line asks for.

    Args:
        line: All that follows the magic's name.
        names: Where ``$NAME`` is looked up.
        nothing_runs: What is said where there is no service to list the keys of.
        in_notebook: Whether displays can be drawn.

    Raises:
        UsageError: If it cannot be right, or no service runs.
        SecretMissing: If a ``$NAME`` is nowhere.
    """
    asked = read_keys_line(line, names)
    if asked is None:
        print_line(KEYS.help())
        return
    from ...client import api, api_keys
    from ..display.keys import new_key_text, show_keys

    state = api.status(rehearse=asked.rehearse)
    if state is None:
        if asked.add or asked.revoke:
            raise api_keys.nothing_runs()
        print_line(nothing_runs, rehearsal=asked.rehearse)
        return
    folder = StateFolder.find(rehearsal=state.rehearsal)
    if asked.add is not None:
        secret = api_keys.add_key(folder, asked.add)
        text = new_key_text(state, asked.add, secret)
        print_line(text, rehearsal=state.rehearsal)
    elif asked.revoke:
        api_keys.revoke_key(folder, asked.revoke)
        text = f"The key of {asked.revoke} is no longer good."
        print_line(text, rehearsal=state.rehearsal)
    else:
        show_keys(state, api_keys.read_keys(folder), in_notebook=in_notebook)
