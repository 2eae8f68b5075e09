"""Synchronous client of the daemon's control socket, by ``http.client``."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from ..errors import (
    DaemonUnreachable,
    DaemonUnresponsive,
    VersionMismatch,
    error_from_name,
)
from ..protocol.json_codec import from_json, to_json
from ..protocol.state import PROTOCOL, Failure, State

T = TypeVar("T")

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

    def get(self, path: str, reply: type[T]) -> T:
        """Return the reply to a GET request.

        Raises:
            AvocadoError: The error that the daemon raised.
            DaemonUnreachable: If it does not answer in time.
        """
        return from_json(reply, self._request("GET", path))

    def post(self, path: str, message: object, reply: type[T]) -> T:
        """Send a message and return its reply.

        Raises:
            AvocadoError: The error that the daemon raised.
            DaemonUnreachable: If it does not answer in time.
        """
        body = json.dumps(to_json(message))
        return from_json(reply, self._request("POST", path, body))

    def stream(self, path: str, message: object, event: type[T]) -> Iterator[T]:
        """Send a message and yield the events of a long operation.

        Closing the generator cancels the operation.

        Raises:
            AvocadoError: The error that the daemon raised.
            DaemonUnreachable: If it stops sending.
        """
        for line in self._lines("POST", path, json.dumps(to_json(message))):
            _raise_failure(line)
            yield from_json(event, line)

    def follow(self, after: int = 0) -> Iterator[State]:
        """Yield the state now and after each change, until the daemon ends.

        A heartbeat comes at least once a second, so silence means a hung daemon.

        Raises:
            DaemonUnreachable: If it stops sending.
        """
        for line in self._lines("GET", f"/events?after={after}"):
            yield from_json(State, line["state"])  # its events are not decoded

    def _lines(
        self, method: str, path: str, body: str | None = None
    ) -> Iterator[dict[str, Any]]:
        connection = _UnixConnection(self.socket, self.answer_s)
        try:
            connection.request(method, path, body, _JSON)
            for line in connection.getresponse():
                yield json.loads(line)
        except TimeoutError as error:
            raise _hung(self.answer_s) from error
        except (OSError, http.client.HTTPException):
            return
        except ValueError as error:  # an older daemon, or one that died within a line
            raise _no_answer() from error
        finally:
            connection.close()

    def _request(
        self, method: str, path: str, body: str | None = None
    ) -> dict[str, Any]:
        connection = _UnixConnection(self.socket, self.answer_s)
        try:
            connection.request(method, path, body, _JSON)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        except TimeoutError as error:
            raise _hung(self.answer_s) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise _no_answer() from error
        finally:
            connection.close()
        _raise_failure(answer)
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


def _raise_failure(answer: dict[str, Any]) -> None:
    if answer.get("failure"):
        raise to_exception(from_json(Failure, answer["failure"]))


def to_exception(failure: Failure) -> Exception:
    """Return the error that the daemon sent."""
    return error_from_name(
        failure.kind, failure.problem, failure.remedy, failure.log_tail
    )


def _no_answer() -> DaemonUnreachable:
    return DaemonUnreachable(
        "The background process does not answer.",
        "Run %avocado_up again; it cleans up after the old one.",
    )


def _hung(answer_s: float) -> DaemonUnresponsive:
    return DaemonUnresponsive(
        f"The background process has not answered for {answer_s:.0f} seconds.",
        "Run %avocado_down, then %avocado_up.",
    )
