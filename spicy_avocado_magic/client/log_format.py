"""Lines of the logs, each read by the form of its file: when, of what, in words."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ..protocol.event_log import entry_text, parse_entry
from ..system.redaction import Redactor

COMPONENT_OF_FILE: Final = {
    "host": "host",
    "engine": "engine",
    "agent": "tunnel",
    "access": "gateway",
    "rehearsal": "rehearsal",
    "flight": "host",
}
"""Whose lines are in which log; each event of the recorder names its own part."""
_MOST_CHARS: Final = 2000
"""Of a line that is shown; the rest of a longer one is left out."""
_NO_RULES: Final = Redactor()

_SLOG: Final = re.compile(r"time=(\S+)")
_AGENT: Final = re.compile(r"(\S+Z) ")
_GO: Final = re.compile(
    r"(?:\[GIN\] )?(\d{4})/(\d\d)/(\d\d)(?: -)? (\d\d):(\d\d):(\d\d)\b"
)
"""Go's ``log`` and gin's access lines, in local time:
https://pkg.go.dev/log#LstdFlags and gin's ``defaultLogFormatter``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line.

    Attributes:
        at_s: Seconds since the epoch; a line without a time has that of the line
            before it, or the first that is known.
        component: Whose it is: a component, ``host`` or ``rehearsal``.
        text: Plain, redacted, without line end.
    """

    at_s: float
    component: str
    text: str

    def __str__(self) -> str:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.at_s))
        thousandths = int(self.at_s * 1000) % 1000
        return f"{stamp}.{thousandths:03d} {self.component:<9} {self.text}"


class LineReader:
    """Reads the lines of one log in their order.

    Args:
        name: Of the log, such as ``engine``.
        changed_s: When it was last written: the time of lines where none tells one.
        redact: Takes out what must not be seen.
    """

    def __init__(
        self, name: str, changed_s: float, redact: Redactor = _NO_RULES
    ) -> None:
        self._name, self._redact = name, redact
        self._changed_s = changed_s
        self._at_s: float | None = None

    def read(self, lines: Iterable[str]) -> Iterator[LogLine]:
        """Yield what each line says; empty ones say nothing."""
        parsed = [_PARSERS.get(self._name, _untimed)(line) for line in lines]
        times = (at_s for at_s, _, _ in parsed if at_s is not None)
        latest_s = self._at_s
        if latest_s is None:
            latest_s = next(times, self._changed_s)
        for at_s, component, text in parsed:
            latest_s = latest_s if at_s is None else at_s
            self._at_s = latest_s
            plain = " ".join(self._redact(text).split())
            if len(plain) > _MOST_CHARS:
                plain = plain[:_MOST_CHARS] + "…"
            if plain:
                yield LogLine(
                    at_s=latest_s,
                    component=component or COMPONENT_OF_FILE[self._name],
                    text=plain,
                )


_Parsed = tuple[float | None, str, str]


def _untimed(line: str) -> _Parsed:
    return None, "", line


def _event(line: str) -> _Parsed:
    entry = parse_entry(line)
    if entry is None:
        return _untimed(line)
    return _at(entry.time), entry.component, entry_text(entry)


def _engine(line: str) -> _Parsed:
    if found := _SLOG.match(line):
        return _at(found[1]), "", line
    if found := _GO.match(line):
        numbers = (int(number) for number in found.groups())
        try:
            return datetime(*numbers).astimezone().timestamp(), "", line  # type: ignore[arg-type]
        except ValueError:
            return _untimed(line)
    return _untimed(line)


def _agent(line: str) -> _Parsed:
    found = _AGENT.match(line)
    if found is None:
        return _untimed(line)
    return _at(found[1]), "", line[found.end() :]


def _access(line: str) -> _Parsed:
    try:
        told = json.loads(line)
        words = [told["method"], told["route"], str(told["status"])]
        words += [f"{name}={told[name]}" for name in ("key", "model") if told[name]]
        words.append(f"{told['ms']} ms")
        if told["tokens_in"] or told["tokens_out"]:
            words.append(f"{told['tokens_in']} tokens in, {told['tokens_out']} out")
        return _at(told["time"]), "", " ".join(words)
    except (ValueError, KeyError, TypeError):
        return _untimed(line)


def _at(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


_PARSERS: Final[dict[str, Callable[[str], _Parsed]]] = {
    "flight": _event,
    "engine": _engine,
    "agent": _agent,
    "access": _access,
}
