"""Parsers of log lines: time, component and text, by the format of each file."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from ..protocol.event_log import entry_text, parse_entry
from ..protocol.json_codec import from_json
from ..system.redaction import Redactor

COMPONENT_OF_FILE: Final = {
    "host": "host",
    "engine": "engine",
    "agent": "tunnel",
    "access": "gateway",
    "rehearsal": "rehearsal",
    "flight": "host",
}
"""The component of each log's lines; events of ``flight`` name their own."""
_MAX_CHARS: Final = 2000
"""Of a line that is shown; a longer one is cut."""
_NO_RULES: Final = Redactor()

_SLOG: Final = re.compile(r"time=(\S+)")
_AGENT: Final = re.compile(r"(\S+Z) ")
_GO: Final = re.compile(
    r"(?:\[GIN\] )?(\d{4}/\d\d/\d\d)(?: -)? (\d\d:\d\d:\d\d)\b", re.ASCII
)
"""Go's ``log`` and gin's access lines, in local time:
https://pkg.go.dev/log#LstdFlags and gin's ``defaultLogFormatter``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line.

    Attributes:
        at_s: Seconds since the epoch; a line without a time has that of the line
            before it, or the first that is known.
        component: Component, ``host`` or ``rehearsal``.
        text: Plain, redacted, without line end.
    """

    at_s: float
    component: str
    text: str

    def __str__(self) -> str:
        thousandths = int(self.at_s * 1000) % 1000
        stamp = f"{format_local_time(self.at_s)}.{thousandths:03d}"
        return f"{stamp} {self.component:<9} {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRecord:
    """One request of the access log, as ``gateway.access_log`` writes it."""

    time: str
    """UTC, such as ``2026-11-25T10:00:00.000Z``."""
    method: str
    route: str
    status: int
    key: str | None = None
    model: str | None = None
    ms: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """Return the request in a line; None if it cannot be read."""
        try:
            return from_json(cls, json.loads(line))
        except (ValueError, TypeError):
            return None

    def __str__(self) -> str:
        words = [self.method, self.route, str(self.status)]
        words += [f"key={self.key}"] if self.key else []
        words += [f"model={self.model}"] if self.model else []
        words.append(f"{self.ms} ms")
        if self.tokens_in or self.tokens_out:
            words.append(f"{self.tokens_in} tokens in, {self.tokens_out} out")
        return " ".join(words)


class LineReader:
    """Parser of the lines of one log, in their order.

    Args:
        name: Of the log, such as ``engine``.
        changed_s: Modification time of the file, for lines before any with a time.
        redact: Removes secrets.
    """

    def __init__(
        self, name: str, changed_s: float, redact: Redactor = _NO_RULES
    ) -> None:
        self._name, self._redact = name, redact
        self._changed_s = changed_s
        self._at_s: float | None = None

    def read(self, lines: Iterable[str]) -> Iterator[LogLine]:
        """Yield each line that is not empty."""
        parsed = [_parse(self._name, line) for line in lines]
        times = (at_s for at_s, _, _ in parsed if at_s is not None)
        if self._at_s is None:
            self._at_s = next(times, self._changed_s)
        for at_s, component, text in parsed:
            self._at_s = self._at_s if at_s is None else at_s
            shown = " ".join(self._redact(text).split())
            if len(shown) > _MAX_CHARS:
                shown = shown[:_MAX_CHARS] + "…"
            if shown:
                yield LogLine(
                    at_s=self._at_s,
                    component=component or COMPONENT_OF_FILE[self._name],
                    text=shown,
                )


def parse_time_s(text: str) -> float | None:
    """Return an ISO 8601 time in seconds since the epoch; None if it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def format_local_time(at_s: float | None) -> str:
    """Return a time on this machine's clock, such as ``2026-11-25 14:03:07``."""
    if at_s is None:
        return "an unknown time"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))


def _parse(name: str, line: str) -> tuple[float | None, str, str]:
    """Return a line's time, its component if it names one, and its text."""
    if name == "flight" and (event := parse_entry(line)):
        return parse_time_s(event.time), event.component, entry_text(event)
    if name == "access" and (request := AccessRecord.parse(line)):
        return parse_time_s(request.time), "", str(request)
    if name == "agent" and (match := _AGENT.match(line)):
        return parse_time_s(match[1]), "", line[match.end() :]
    if name == "engine" and (match := _SLOG.match(line)):
        return parse_time_s(match[1]), "", line
    if name == "engine" and (match := _GO.match(line)):
        return parse_time_s(f"{match[1].replace('/', '-')} {match[2]}"), "", line
    return None, "", line
