"""A stand-in for ``google.colab``: asks the page, blocks, and raises as the real one.

Written after ``google/colab/userdata.py`` and ``_message.py`` of
googlecolab/colabtools: a request goes out beside the cell's output, the page answers
on the channel of ``input()``, and one lock lets a single question be open at a time.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

import zmq

Ask = Callable[[str, float], Any]
"""Of a secret's name and seconds; what the page says, None if it says nothing."""

TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.025


class Error(Exception):
    """The base of ``google.colab.errors``."""


class MessageError(Error):
    """The page answered with an error."""


class SecretNotFoundError(Error):
    """There is no secret of this name."""


class TimeoutException(Error):
    """The page did not answer."""


class NotebookAccessError(Exception):
    """The secret is there, and not for this notebook; of no common base."""


def install(ask: Ask, timeout_s: float = TIMEOUT_S) -> ModuleType:
    """Make ``google.colab`` importable and return its ``userdata``."""
    lock = threading.Lock()

    def get(key: str) -> Any:
        if not key or re.search(r"\s", key):
            raise ValueError("Please enter a valid secret name")
        with lock:
            answer = ask(key, timeout_s)
        if answer is None:
            raise TimeoutException(key)
        if not answer.get("exists", False):
            raise SecretNotFoundError(key)
        if not answer.get("access", False):
            raise NotebookAccessError(key)
        return answer.get("payload", "")

    google, colab = ModuleType("google"), ModuleType("google.colab")
    userdata: Any = ModuleType("google.colab.userdata")
    userdata.get = get
    for error in (SecretNotFoundError, TimeoutException, NotebookAccessError):
        setattr(userdata, error.__name__, error)
    vars(google)["colab"], vars(colab)["userdata"] = colab, userdata
    for module in (google, colab, userdata):
        sys.modules[module.__name__] = module
    return colab


def ask_page(key: str, timeout_s: float) -> Any:
    """Ask the page of a real kernel, as ``blocking_request`` does."""
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance()
    kernel, identity = app.kernel, f"ask-{time.monotonic_ns()}"
    asked = app.session.msg(
        "colab_request",
        content={"request": {"key": key}},
        metadata={"colab_msg_id": identity, "colab_request_type": "GetSecret"},
        parent=kernel.get_parent("shell"),
    )
    app.session.send(app.iopub_socket, asked)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        _, reply = kernel.session.recv(kernel.stdin_socket, zmq.NOBLOCK)
        value = reply["content"].get("value") if reply else None
        if isinstance(value, dict) and value.get("colab_msg_id") == identity:
            if "error" in value:
                raise MessageError(value["error"])
            return value["data"]
        time.sleep(_POLL_S)
    return None
