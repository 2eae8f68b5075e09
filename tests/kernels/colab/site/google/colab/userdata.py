"""A stand-in for ``google.colab.userdata``: one lock, one question at a time."""

from __future__ import annotations

import os
import re
import threading

from . import _message
from .errors import Error

_TIMEOUT_S = float(os.environ.get("COLAB_STAND_IN_TIMEOUT_S", "10"))
"""Colab's own ten seconds; a test need not wait for so long."""
_lock = threading.Lock()


class NotebookAccessError(Exception):
    """The notebook may not read the secret. Not one of Colab's ``Error``, as there."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Notebook does not have access to secret {key}")


class SecretNotFoundError(Error):
    """There is no secret of that name."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Secret {key} does not exist.")


class TimeoutException(Error):
    """Nobody answered, as where the kernel runs without Colab's page."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Requesting secret {key} timed out. Secrets can only be fetched when "
            "running from the Colab UI."
        )


def get(key: str) -> str:
    """Return a secret; blocks until the page answers.

    Raises:
        ValueError: If the name is empty or has a blank in it.
        TimeoutException: If nobody answers.
        SecretNotFoundError: If there is none of that name.
        NotebookAccessError: If this notebook may not read it.
    """
    if not key or re.search(r"\s", key):
        raise ValueError("Please enter a valid secret name")
    with _lock:
        told = _message.blocking_request("GetSecret", {"key": key}, _TIMEOUT_S)
    if not told:
        raise TimeoutException(key)
    if not told.get("exists", False):
        raise SecretNotFoundError(key)
    if not told.get("access", False):
        raise NotebookAccessError(key)
    return str(told.get("payload", ""))
