"""The logs of a host that runs or ran: their end, and what is added to them."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

from ..config.timeouts import Timeouts
from ..config.tunnel import TUNNEL
from ..errors import UsageError
from ..formatting import did_you_mean
from ..protocol.state import COMPONENTS
from ..protocol.state_folder import StateFolder
from ..system.redaction import Redactor
from ..system.rotating_file import tail_lines
from .log_format import COMPONENT_OF_FILE, LineReader, LogLine

LOG_COMPONENTS: Final = ("host", *COMPONENTS, "rehearsal")
LINES_SHOWN: Final = 100
MOST_LINES: Final = 100_000
_ALSO_CALLED: Final = {"ollama": "engine", TUNNEL.name: "tunnel", "agent": "tunnel"}
_SECRET_FIELDS: Final = ("authtoken", "api_key", "metrics_token", "secret")
_LONGEST_REST: Final = 1 << 16
"""Bytes of a line whose end has not come yet; a longer one is taken for whole."""


def _component(text: str) -> str:
    name = _ALSO_CALLED.get(text, text)
    if not name or name in LOG_COMPONENTS:
        return name
    known = (*LOG_COMPONENTS, *_ALSO_CALLED)
    hint = did_you_mean(text, known, f"Use {', '.join(LOG_COMPONENTS)}.")
    raise UsageError(f"There is no log of {text!r}.", hint)


def _count(count: int) -> int:
    if 1 <= count <= MOST_LINES:
        return count
    raise UsageError(f"{count} lines cannot be shown.", f"Ask for 1 to {MOST_LINES:,}.")


def most_recent_state_folder(folders: Sequence[StateFolder]) -> StateFolder:
    """Return the folder of the host that runs, else of that which was last there."""
    for folder in folders:
        record = folder.read_record()
        if record is not None and record.host.is_alive:
            return folder
    return max(folders, key=lambda folder: max(map(_changed_s, folder.logs), default=0))


def read_logs(
    folder: StateFolder, component: str = "", count: int = LINES_SHOWN
) -> list[LogLine]:
    """Return the last lines of all logs, or of one component, merged by time.

    No host has to run. Lines of one log stay in their order.

    Args:
        folder: Of the host.
        component: One of ``LOG_COMPONENTS``; empty is all of them.
        count: How many at most.

    Raises:
        UsageError: With the nearest component, or if there cannot be so many.
    """
    component, count = _component(component), _count(count)
    with _following(folder, component) as followed:
        return _tail(followed, component, count)


def follow_logs(
    folder: StateFolder, component: str, count: int, policy: Timeouts
) -> Iterator[LogLine]:
    """Yield the last lines, then each new one as it comes; it never ends.

    It goes on when the host ends and when another one begins. Of an engine's log
    that is cut in a flood, lines between two looks may be missed.

    Raises:
        UsageError: As ``read_logs`` does.
    """
    component, count = _component(component), _count(count)
    with _following(folder, component) as followed:
        yield from _tail(followed, component, count)
        while True:
            lines = [line for one in followed for line in one.new_lines()]
            yield from sorted(_wanted(lines, component), key=lambda line: line.at_s)
            time.sleep(policy.logs_follow_every_s)


@contextlib.contextmanager
def _following(folder: StateFolder, component: str) -> Iterator[list[_Followed]]:
    """Open each log in which a component may be told of."""
    names = [
        name
        for name, whose in COMPONENT_OF_FILE.items()
        if component in ("", whose) or name == "flight"
    ]
    followed = [_Followed(folder, name) for name in names]
    try:
        yield followed
    finally:
        for one in followed:
            one.close()


def _tail(followed: Sequence[_Followed], component: str, count: int) -> list[LogLine]:
    keyed: list[tuple[float, LogLine]] = []
    for one in followed:
        latest_s = float("-inf")
        for line in _wanted(one.last_lines(component, count), component):
            # A clock that was set back must not reorder the lines of one log.
            latest_s = max(latest_s, line.at_s)
            keyed.append((latest_s, line))
    return [line for _, line in sorted(keyed, key=lambda pair: pair[0])][-count:]


def _wanted(lines: Sequence[LogLine], component: str) -> list[LogLine]:
    return [line for line in lines if component in ("", line.component)]


class _Followed:
    """One log from a moment on: what was there before, and what comes after."""

    def __init__(self, folder: StateFolder, name: str) -> None:
        self._name, self._path = name, folder.log(name)
        self._rest = b""
        self._file = self._opened()
        self._start_bytes = self._file.seek(0, os.SEEK_END) if self._file else 0
        began_s = _changed_s(self._path) or time.time()
        self._reader = LineReader(name, began_s, Redactor(_secrets_left(folder)))

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def last_lines(self, component: str, count: int) -> list[LogLine]:
        """Return the last lines that were there at the beginning.

        The recorder's events are of all components, so all are read for one.
        """
        if self._name == "flight" and component:
            count = MOST_LINES
        lines = tail_lines(self._path, count, until_bytes=self._start_bytes)
        return list(self._reader.read(lines))

    def new_lines(self) -> list[LogLine]:
        """Return what has come since the last look, in this file or its successor."""
        found = self._rest + self._read()
        if self._is_replaced():
            self.close()
            self._file = self._opened()
            found += self._read()
        *lines, self._rest = found.split(b"\n")
        if len(self._rest) > _LONGEST_REST:
            lines, self._rest = [*lines, self._rest], b""
        return list(self._reader.read(x.decode("utf-8", "replace") for x in lines))

    def _read(self) -> bytes:
        if self._file is None:
            return b""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
        return self._file.read()

    def _is_replaced(self) -> bool:
        with contextlib.suppress(OSError):
            now = self._path.stat()
            if self._file is None:
                return True
            return not os.path.samestat(now, os.fstat(self._file.fileno()))
        return False

    def _opened(self) -> IO[bytes] | None:
        with contextlib.suppress(OSError):
            return self._path.open("rb")
        return None


def _changed_s(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _secrets_left(folder: StateFolder) -> list[str]:
    """Return the secrets that a host has written down, for none may be shown."""
    found: list[str] = []

    def look(value: Any) -> None:
        if isinstance(value, dict):
            found.extend(str(value[name]) for name in _SECRET_FIELDS if name in value)
            value = list(value.values())
        for item in value if isinstance(value, list) else ():
            look(item)

    for text in folder.read_secrets().values():
        with contextlib.suppress(ValueError):  # a full disk may have cut it short
            look(json.loads(text))
    return found
