"""A stand-in for ``google.colab._message``: asks the page, and waits for it."""

from __future__ import annotations

import time
import uuid
from typing import Any

import zmq
from ipykernel.kernelapp import IPKernelApp

from .errors import Error

_POLL_S = 0.025


class MessageError(Error):
    """The page answered with an error."""


def blocking_request(kind: str, request: Any, timeout_sec: float | None) -> Any:
    """Send a request to the page and block until it answers.

    Returns:
        What it says; None if it says nothing for ``timeout_sec`` seconds.

    Raises:
        MessageError: If the page answers with an error.
    """
    app = IPKernelApp.instance()
    number = str(uuid.uuid4())
    about = {"colab_msg_id": number, "colab_request_type": kind}
    message = app.session.msg("colab_request", {"request": request}, metadata=about)
    app.session.send(app.iopub_socket, message)
    deadline = None if timeout_sec is None else time.monotonic() + timeout_sec
    while deadline is None or time.monotonic() < deadline:
        _, reply = app.session.recv(app.kernel.stdin_socket, zmq.NOBLOCK)
        value = reply["content"].get("value") if reply else None
        if not isinstance(value, dict) or value.get("colab_msg_id") != number:
            # What comes on the input channel meanwhile is thrown away, as there.
            time.sleep(_POLL_S)
            continue
        if "error" in value:
            raise MessageError(value["error"])
        return value.get("data")
    return None
