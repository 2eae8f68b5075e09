"""``%avocado_keys``: list, add and revoke API keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ...client import api, api_keys
from ...client.state_text import REHEARSAL_MARK, curl_line
from ...config.api_key_options import (
    KEY_OPTIONS,
    ApiKeyRequest,
    build_api_key_request,
)
from ...config.api_keys import ANONYMOUS
from ...errors import UsageError
from ...formatting import format_duration
from ...protocol.state import ApiKeyState, ModelState, State
from ...protocol.state_folder import StateFolder
from ...system.redaction import Secret
from ..display.html import RichOutput, columns_table, lines_of
from ..display.status import KEYS_HEAD, key_cells, limits_text
from ..display.theme import wrap_card
from ..display.updatable import UpdatableOutput
from ..session import NOTHING_RUNS, MagicCall, print_line

POOLED: Final = (
    "! This key works on this notebook only; other members of the pool answer 401.\n"
    "  → Share a service outside the pool, or the --api-key that all members have."
)
NO_AUTH: Final = (
    "With --no-auth, anybody with the URL can use the service, even without a key."
)


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


def show_keys(state: State, keys: Sequence[ApiKeyState], *, in_notebook: bool) -> None:
    """Show each key with its limits and use."""
    rows = [key_cells(key) for key in keys]
    notes = [NO_AUTH] if keys and keys[0].name == ANONYMOUS else []
    text = "\n".join([*_aligned([KEYS_HEAD, *rows]), *notes])
    if not in_notebook:
        print_line(text, rehearsal=state.rehearsal)
        return
    markup = wrap_card(
        columns_table("Keys", KEYS_HEAD, rows) + lines_of(notes, "warning"),
        phase="ready",
        label="Keys",
        rehearsal=state.rehearsal,
    )
    marked = f"{REHEARSAL_MARK}\n{text}" if state.rehearsal else text
    UpdatableOutput().update(RichOutput(html=markup, text=marked))


def new_key_text(state: State, request: ApiKeyRequest, secret: Secret) -> str:
    """Return a new key in full, and a curl line that uses it."""
    key = secret.get_secret_value()
    shared = replace(state, api_key=key, key_is_generated=True, hide_key=False)
    if request.models:
        models = tuple(ModelState(name=name) for name in request.models)
        shared = replace(shared, models=models)
    expires = "never"
    if request.expires_s:
        expires = f"in {format_duration(request.expires_s)}"
    lines = [
        f"New key for {request.name}. It is shown only this once:",
        f"key     {key}",
        f"limits  {limits_text(request)}",
        f"expires {expires}",
        "",
        curl_line(shared, show_key=True),
    ]
    return "\n".join([*lines, *(["", POOLED] if state.members else [])])


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
    for option in KEY_OPTIONS:
        if option.name in limits and action != "add":
            raise UsageError(
                f"{option.flag} can only be given to a new key.",
                f"Write %avocado_keys add NAME {option.flag} …",
            )
    if action and not values["name"]:
        raise UsageError("The name is missing.", f"Write %avocado_keys {action} NAME")
    return limits


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
