"""Synchronous client of the daemon's control socket, by ``http.client``."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import (
    DaemonUnreachable,
    DaemonUnresponsive,
    VersionMismatch,
    error_from_name,
)
from ..protocol.json_codec import from_json
from ..protocol.state import PROTOCOL, Failure, State

ANSWER_S: Final = 5.0
"""A daemon that does not answer for this long is reported as hung."""
_JSON: Final = {"Content-Type": "application/json"}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("host", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass(frozen=True, slots=True)
class ControlClient:
    """HTTP client of one control socket."""

    socket: Path
    answer_s: float = ANSWER_S
    """Longest wait for an answer, in seconds."""

    def state(self) -> State:
        """Return the present state.

        Raises:
            DaemonUnreachable: If it does not answer.
            DaemonUnresponsive: If it takes longer than ``answer_s``.
            VersionMismatch: If it has another protocol number.
        """
        state = self._request("GET", "/state")
        require_same_protocol(int(state.get("protocol", 0)))
        return from_json(State, state)

    def get(self, path: str) -> dict[str, Any]:
        """Return the answer to a GET request.

        Raises:
            AvocadoError: The error that the daemon raised.
            DaemonUnreachable: If it does not answer in time.
        """
        return self._request("GET", path)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Return the answer to a POST request.

        Raises:
            AvocadoError: The error that the daemon raised.
            DaemonUnreachable: If it does not answer in time.
        """
        return self._request("POST", path, json.dumps(body))

    def stream(self, path: str, **body: Any) -> Iterator[dict[str, Any]]:
        """Yield the messages of a long operation, line by line.

        Closing the generator cancels the operation.

        Raises:
            AvocadoError: The error that the daemon raised.
            DaemonUnreachable: If it stops sending.
        """
        for message in self._lines("POST", path, json.dumps(body)):
            if "failure" in message:
                raise to_exception(message["failure"])
            yield message

    def follow(self, after: int = 0) -> Iterator[State]:
        """Yield the state now and after each change, until the daemon ends.

        A heartbeat comes at least once a second, so silence means a hung daemon.

        Raises:
            DaemonUnreachable: If it stops sending.
        """
        for message in self._lines("GET", f"/events?after={after}"):
            yield from_json(State, message["state"])

    def _lines(
        self, method: str, path: str, body: str | None = None
    ) -> Iterator[dict[str, Any]]:
        try:
            with self._response(method, path, body) as response:
                for line in response:
                    yield json.loads(line)
        except (OSError, http.client.HTTPException):
            return

    @contextlib.contextmanager
    def _response(
        self, method: str, path: str, body: str | None
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request; a time-out or text that is not JSON is an error of ours."""
        connection = _UnixConnection(self.socket, self.answer_s)
        try:
            connection.request(method, path, body, _JSON)
            yield connection.getresponse()
        except TimeoutError as error:
            raise DaemonUnresponsive(
                "The background process has not answered for "
                f"{self.answer_s:.0f} seconds.",
                "Run %avocado_down, then %avocado_up.",
            ) from error
        except ValueError as error:  # an older daemon, or one that died within a line
            raise _no_answer() from error
        finally:
            connection.close()

    def _request(
        self, method: str, path: str, body: str | None = None
    ) -> dict[str, Any]:
        try:
            with self._response(method, path, body) as response:
                answer: dict[str, Any] = json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            raise _no_answer() from error
        if "failure" in answer:
            raise to_exception(answer["failure"])
        return answer


def require_same_protocol(protocol: int) -> None:
    """Check that the daemon belongs to this version of the package.

    Raises:
        VersionMismatch: If it does not, with the command that replaces it.
    """
    if protocol != PROTOCOL:
        raise VersionMismatch(
            "The running service was started by another version of Spicy Avocado.",
            "Run %avocado_up --restart; the key stays the same.",
        )


def to_exception(payload: dict[str, Any]) -> Exception:
    """Return the error that the daemon sent."""
    failure = from_json(Failure, payload)
    return error_from_name(
        failure.kind, failure.problem, failure.remedy, failure.log_tail
    )


def _no_answer() -> DaemonUnreachable:
    return DaemonUnreachable(
        "The background process does not answer.",
        "Run %avocado_up again; it cleans up after the old one.",
    )
