"""Ask the host who else is let in, and change it."""

from __future__ import annotations

from typing import Any

from ..config.api_key_options import (
    KEY_OPTION_BY_NAME,
    ApiKeyRequest,
    build_api_key_request,
)
from ..errors import UsageError
from ..protocol.json_codec import from_json, to_json
from ..protocol.state import ApiKeyState
from ..protocol.state_folder import StateFolder
from ..system.redaction import Secret
from .call_arguments import parse_keyword_arguments
from .control_client import ControlClient
from .launch import state_of


def read_keys(folder: StateFolder) -> tuple[ApiKeyState, ...]:
    """Return every key with its limits and use, the owner's first."""
    plain = _host(folder).get("/keys")["keys"]
    return tuple(from_json(ApiKeyState, item) for item in plain)


def add_key(folder: StateFolder, grant: ApiKeyRequest) -> Secret:
    """Have a key made; it opens from now on.

    Raises:
        UsageError: If there can be no such key, or nothing runs.
    """
    answer = _host(folder).post("/keys", grant=to_json(grant))
    return Secret(answer["secret"])


def revoke_key(folder: StateFolder, name: str) -> None:
    """Take a key back; what is open with it ends.

    Raises:
        UsageError: If there is no such key, or nothing runs.
    """
    _host(folder).post("/keys/revoke", name=name)


def api_key_request(name: str, **arguments: Any) -> ApiKeyRequest:
    """Return what the arguments of ``add_key()`` ask for.

    Raises:
        UsageError: If one of them cannot be.
    """
    parsed = parse_keyword_arguments("add_key", arguments, KEY_OPTION_BY_NAME)
    return build_api_key_request(name, parsed)


def nothing_runs() -> UsageError:
    """Return the error for a service that is not there."""
    return UsageError(
        "Nothing is running, so there are no keys.",
        "Start a service first: %avocado_up MODEL",
    )


def _host(folder: StateFolder) -> ControlClient:
    # Asked for its state first, since a host that has just been born refuses.
    if state_of(folder) is None:
        raise nothing_runs()
    return ControlClient(folder.socket)
