"""Named API keys over the control socket: list, create and revoke."""

from __future__ import annotations

from typing import Any

from ..config.api_key_options import (
    KEY_OPTION_BY_NAME,
    ApiKeyRequest,
    build_api_key_request,
)
from ..errors import UsageError
from ..protocol.control_messages import (
    Acknowledged,
    AddKeyMessage,
    AddKeyReply,
    KeysReply,
    RevokeKeyMessage,
)
from ..protocol.json_codec import to_json
from ..protocol.state import ApiKeyState
from ..protocol.state_folder import StateFolder
from ..system.redaction import Secret
from .call_arguments import parse_keyword_arguments
from .control_client import ControlClient
from .launch import state_of


def read_keys(folder: StateFolder) -> tuple[ApiKeyState, ...]:
    """Return every key with its limits and usage, the owner's first."""
    return _daemon(folder).get("/keys", KeysReply).keys


def add_key(folder: StateFolder, request: ApiKeyRequest) -> Secret:
    """Create a key, valid from now on, and return it.

    Raises:
        UsageError: If the name is taken, there are too many keys, or nothing runs.
    """
    message = AddKeyMessage(grant=to_json(request))
    return Secret(_daemon(folder).post("/keys", message, AddKeyReply).secret)


def revoke_key(folder: StateFolder, name: str) -> None:
    """Revoke a key; its requests in flight are cancelled.

    Raises:
        UsageError: If no key has this name, or nothing runs.
    """
    message = RevokeKeyMessage(name=name)
    _daemon(folder).post("/keys/revoke", message, Acknowledged)


def api_key_request(name: str, **arguments: Any) -> ApiKeyRequest:
    """Return the request that the arguments of ``add_key()`` make.

    Raises:
        UsageError: If one of them is not valid.
    """
    parsed = parse_keyword_arguments("add_key", arguments, KEY_OPTION_BY_NAME)
    return build_api_key_request(name, parsed)


def nothing_runs() -> UsageError:
    """Return the error for keys of a service that does not run."""
    return UsageError(
        "Nothing is running, so there are no keys.",
        "Start a service first: %avocado_up MODEL",
    )


def _daemon(folder: StateFolder) -> ControlClient:
    # The state is read first, with retries: a daemon that is starting refuses.
    if state_of(folder) is None:
        raise nothing_runs()
    return ControlClient(folder.socket)
