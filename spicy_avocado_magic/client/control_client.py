"""The kernel's end of the control socket: bounded, synchronous ``http.client``."""

from __future__ import annotations

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
"""A host that does not answer for this long is told as hung."""
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
    """Talks to the host of one control socket."""

    socket: Path
    answer_s: float = ANSWER_S
    """How long to wait for an answer."""

    def state(self) -> State:
        """Return the host's present state.

        Raises:
            DaemonUnreachable: If it does not answer.
            DaemonUnresponsive: If it takes longer than ``answer_s``.
            VersionMismatch: If it speaks another protocol.
        """
        plain = self._ask("GET", "/state")
        require_same_protocol(int(plain.get("protocol", 0)))
        return from_json(State, plain)

    def get(self, path: str) -> dict[str, Any]:
        """Return what the host tells there.

        Raises:
            AvocadoError: As the host raised it.
            DaemonUnreachable: If it does not answer in time.
        """
        return self._ask("GET", path)

    def post(self, path: str, **wish: Any) -> dict[str, Any]:
        """Ask the host for something and return its answer.

        Raises:
            AvocadoError: As the host raised it.
            DaemonUnreachable: If it does not answer in time.
        """
        return self._ask("POST", path, json.dumps(wish))

    def stream(self, path: str, **wish: Any) -> Iterator[dict[str, Any]]:
        """Ask the host for something that takes its time; yield what it tells of it.

        A caller that stops listening ends it.

        Raises:
            AvocadoError: As the host raised it.
            DaemonUnreachable: If it falls silent.
        """
        for told in self._lines("POST", path, json.dumps(wish)):
            if "failure" in told:
                raise to_exception(told["failure"])
            yield told

    def follow(self, after: int = 0) -> Iterator[State]:
        """Yield the state now and after each change; ends when the host does.

        A heartbeat comes at least each second, so silence means a hung host.

        Raises:
            DaemonUnreachable: If it falls silent.
        """
        for told in self._lines("GET", f"/events?after={after}"):
            yield from_json(State, told["state"])

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
        except ValueError as error:  # a host that is older, or died within a line
            raise _no_answer() from error
        finally:
            connection.close()

    def _ask(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
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
        if "failure" in answer:
            raise to_exception(answer["failure"])
        return answer


def require_same_protocol(protocol: int) -> None:
    """Refuse a host which another version of this package started.

    Raises:
        VersionMismatch: With the command that replaces it.
    """
    if protocol != PROTOCOL:
        raise VersionMismatch(
            "The running host was started by another version of Spicy Avocado.",
            "Run %avocado_up --restart; the key stays the same.",
        )


def to_exception(plain: dict[str, Any]) -> Exception:
    """Return the error that a host sent."""
    failure = from_json(Failure, plain)
    return error_from_name(
        failure.kind, failure.problem, failure.remedy, failure.log_tail
    )


def _no_answer() -> DaemonUnreachable:
    return DaemonUnreachable(
        "The background process does not answer.",
        "Run %avocado_up again; it clears what is left of the old one.",
    )


def _hung(answer_s: float) -> DaemonUnresponsive:
    return DaemonUnresponsive(
        f"The background process has not answered for {answer_s:.0f} seconds.",
        "Run %avocado_down, then %avocado_up.",
    )
