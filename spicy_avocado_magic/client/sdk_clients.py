"""Clients of the packages ``openai``, ``anthropic`` and ``ollama``, if installed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..errors import UserActionRequired
from ..protocol.state import State
from .chat import require_running
from .snippets import NEWER_ENGINE, NO_KEY, anthropic_unsupported_reason

if TYPE_CHECKING:
    from anthropic import Anthropic
    from ollama import Client as Ollama
    from openai import OpenAI


def openai_client(state: State) -> OpenAI:
    """Return a client of the ``openai`` package.

    Raises:
        UserActionRequired: If the package is not installed, or nothing runs.
    """
    package = _required("openai")
    client: OpenAI = package.OpenAI(
        base_url=f"{require_running(state).local_url}/v1",
        api_key=state.api_key or NO_KEY,
        http_client=_without_proxies(package),
    )
    return client


def anthropic_client(state: State) -> Anthropic:
    """Return a client of the ``anthropic`` package.

    Raises:
        UserActionRequired: If the package is not installed, nothing runs, or the
            running engine is too old.
    """
    package = _required("anthropic")
    if reason := anthropic_unsupported_reason(require_running(state)):
        raise UserActionRequired(reason, NEWER_ENGINE)
    client: Anthropic = package.Anthropic(
        base_url=state.local_url,
        api_key=state.api_key or NO_KEY,
        http_client=_without_proxies(package),
    )
    # Older versions also send a token of the environment, meant for another service.
    client.auth_token = None
    return client


def ollama_client(state: State) -> Ollama:
    """Return a client of the ``ollama`` package.

    Raises:
        UserActionRequired: If the package is not installed, or nothing runs.
    """
    package = _required("ollama")
    client: Ollama = package.Client(
        host=require_running(state).local_url,
        # Without a key, too: else OLLAMA_API_KEY of the environment is sent.
        headers={"Authorization": f"Bearer {state.api_key or NO_KEY}"},
        trust_env=False,
    )
    return client


def _without_proxies(package: Any) -> Any:
    # A proxy cannot reach this machine's loopback.
    return package.DefaultHttpxClient(trust_env=False)


def _required(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserActionRequired(
            f"The package {package} is not installed.",
            f"Run %pip install {package} in a cell.",
        ) from error
