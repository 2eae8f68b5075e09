"""Reader and follower of the service's logs, merged by time, across rotation."""

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
MAX_LINES: Final = 100_000
_ALIASES: Final = {"ollama": "engine", TUNNEL.name: "tunnel", "agent": "tunnel"}
_SECRET_FIELDS: Final = ("authtoken", "api_key", "metrics_token", "secret")
_MAX_PENDING_BYTES: Final = 1 << 16
"""Of a line without its end so far; a longer one is shown as it is."""


def _component(text: str) -> str:
    name = _ALIASES.get(text, text)
    if not name or name in LOG_COMPONENTS:
        return name
    known = (*LOG_COMPONENTS, *_ALIASES)
    remedy = did_you_mean(text, known, f"Use {', '.join(LOG_COMPONENTS)}.")
    raise UsageError(f"There is no log of {text!r}.", remedy)


def _count(count: int) -> int:
    if 1 <= count <= MAX_LINES:
        return count
    raise UsageError(f"{count} lines cannot be shown.", f"Ask for 1 to {MAX_LINES:,}.")


def most_recent_state_folder(folders: Sequence[StateFolder]) -> StateFolder:
    """Return the folder of the running service, else the one written last."""
    for folder in folders:
        record = folder.read_record()
        if record is not None and record.host.is_alive:
            return folder
    return max(folders, key=lambda folder: max(map(_changed_s, folder.logs), default=0))


def read_logs(
    folder: StateFolder, component: str = "", count: int = LINES_SHOWN
) -> list[LogLine]:
    """Return the last lines of all logs, or of one component, merged by time.

    The service need not run. Lines of one log keep their order.

    Args:
        folder: Of the service.
        component: One of ``LOG_COMPONENTS``; empty is all of them.
        count: How many at most.

    Raises:
        UsageError: For an unknown component, with the closest match, or a wrong count.
    """
    component, count = _component(component), _count(count)
    with _open_logs(folder, component) as files:
        return _tail(files, component, count)


def follow_logs(
    folder: StateFolder, component: str, count: int, timeouts: Timeouts
) -> Iterator[LogLine]:
    """Yield the last lines, then each new one; it never ends.

    It continues when the service ends and when another one starts. If the engine's
    log is truncated during a flood, lines between two reads may be missed.

    Raises:
        UsageError: As ``read_logs`` does.
    """
    component, count = _component(component), _count(count)
    with _open_logs(folder, component) as files:
        yield from _tail(files, component, count)
        while True:
            lines = [line for file in files for line in file.new_lines()]
            yield from sorted(_of(component, lines), key=lambda line: line.at_s)
            time.sleep(timeouts.logs_follow_every_s)


@contextlib.contextmanager
def _open_logs(folder: StateFolder, component: str) -> Iterator[list[_LogFile]]:
    """Open the logs of a component, and the event log, which is about all of them."""
    files = [
        _LogFile(folder, name)
        for name, owner in COMPONENT_OF_FILE.items()
        if component in ("", owner) or name == "flight"
    ]
    try:
        yield files
    finally:
        for file in files:
            file.close()


def _tail(files: Sequence[_LogFile], component: str, count: int) -> list[LogLine]:
    keyed: list[tuple[float, LogLine]] = []
    for file in files:
        latest_s = float("-inf")
        for line in _of(component, file.last_lines(component, count)):
            # A clock that was set back must not reorder the lines of one log.
            latest_s = max(latest_s, line.at_s)
            keyed.append((latest_s, line))
    return [line for _, line in sorted(keyed, key=lambda pair: pair[0])][-count:]


def _of(component: str, lines: Sequence[LogLine]) -> list[LogLine]:
    return [line for line in lines if component in ("", line.component)]


class _LogFile:
    """One log from a moment on: the lines that it had, and those that follow."""

    def __init__(self, folder: StateFolder, name: str) -> None:
        self._name, self._path = name, folder.log(name)
        self._pending = b""
        self._file = self._open()
        self._start_bytes = self._file.seek(0, os.SEEK_END) if self._file else 0
        changed_s = _changed_s(self._path) or time.time()
        self._reader = LineReader(name, changed_s, Redactor(_stored_secrets(folder)))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def last_lines(self, component: str, count: int) -> list[LogLine]:
        """Return the last lines at the moment of opening.

        The event log is about all components, so for one of them all of it is read.
        """
        if self._name == "flight" and component:
            count = MAX_LINES
        lines = tail_lines(self._path, count, until_bytes=self._start_bytes)
        return list(self._reader.read(lines))

    def new_lines(self) -> list[LogLine]:
        """Return the lines since the last call, of this file or its successor."""
        found = self._pending + self._read()
        if self._is_replaced():
            self.close()
            self._file = self._open()
            found += self._read()
        *lines, self._pending = found.split(b"\n")
        if len(self._pending) > _MAX_PENDING_BYTES:
            lines, self._pending = [*lines, self._pending], b""
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

    def _open(self) -> IO[bytes] | None:
        with contextlib.suppress(OSError):
            return self._path.open("rb")
        return None


def _changed_s(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _stored_secrets(folder: StateFolder) -> list[str]:
    """Return the secrets in the service's own files, none of which may be shown."""
    secrets: list[str] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            secrets.extend(str(value[name]) for name in _SECRET_FIELDS if name in value)
            value = list(value.values())
        for item in value if isinstance(value, list) else ():
            collect(item)

    for text in folder.read_secrets().values():
        with contextlib.suppress(ValueError):  # a full disk may have cut it short
            collect(json.loads(text))
    return secrets
