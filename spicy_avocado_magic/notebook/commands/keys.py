"""``%avocado_keys``: list, add and revoke API keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...client import api, api_keys
from ...config.api_key_options import KEY_OPTIONS, build_api_key_request
from ...errors import UsageError
from ...protocol.state_folder import StateFolder
from ..display.keys import new_key_text, show_keys
from ..session import NOTHING_RUNS, MagicCall, print_line


def run(call: MagicCall) -> None:
    """List the keys, add one or revoke one.

    Raises:
        UsageError: If the line is wrong, or no service runs to add a key to.
        SecretMissing: If a ``$NAME`` is not defined anywhere.
    """
    values = call.parse()
    limits = _limits(values)
    action, name = values["action"], values["name"]
    request = build_api_key_request(name, limits) if action == "add" else None
    state = api.status(rehearse=values["rehearse"])
    if state is None:
        if action:
            raise api_keys.nothing_runs()
        print_line(NOTHING_RUNS, rehearsal=values["rehearse"])
        return
    folder = StateFolder.find(rehearsal=state.rehearsal)
    if request is not None:
        secret = api_keys.add_key(folder, request)
        text = new_key_text(state, request, secret)
        print_line(text, rehearsal=state.rehearsal)
    elif action:
        api_keys.revoke_key(folder, name)
        print_line(f"The key of {name} no longer works.", rehearsal=state.rehearsal)
    else:
        show_keys(state, api_keys.read_keys(folder), in_notebook=call.in_notebook)


def _limits(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a new key that were given.

    Raises:
        UsageError: If they were given without ``add``, or the name is missing.
    """
    action = values["action"]
    limits = {
        option.name: values[option.name]
        for option in KEY_OPTIONS
        if values[option.name] not in (None, False)
    }
    if action and not values["name"]:
        raise UsageError("The name is missing.", f"Write %avocado_keys {action} NAME")
    for option in KEY_OPTIONS:
        if option.name in limits and action != "add":
            raise UsageError(
                f"{option.flag} can only be given to a new key.",
                f"Write %avocado_keys add NAME {option.flag} …",
            )
    return limits
