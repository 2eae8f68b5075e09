"""From a line of ``%avocado_logs`` to what it asks for; knows nothing of IPython."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import UsageError
from .commands import LOGS
from .parser import parse_line, parse_option
from .variables import VariableResolver


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsRequest:
    """What a line asks for.

    Attributes:
        component: As typed; empty is all of them.
        count: How many lines; None is the usual number.
        follow: Whether to go on with what comes.
        rehearse: Whether only a rehearsal is meant.
    """

    component: str = ""
    count: int | None = None
    follow: bool = False
    rehearse: bool = False


def read_logs_line(line: str, names: VariableResolver) -> LogsRequest | None:
    """Read ``%avocado_logs``; None if help is asked for.

    Raises:
        UsageError: If it cannot be right.
        SecretMissing: If a ``$NAME`` is nowhere.
    """
    typed = parse_line(line, LOGS)
    if typed is None:
        return None
    component, *more = typed.words or ("",)
    if more:
        raise UsageError(
            f"{more[0]!r} is one word too many.", "Write %avocado_logs COMPONENT"
        )
    known = LOGS.option_by_flag
    parsed = {
        known[flag].name: parse_option(known[flag], names.resolve(text))
        for flag, text in typed.options.items()
    }
    return LogsRequest(
        component=names.resolve(component),
        count=parsed.get("n"),
        follow=parsed.get("follow", False),
        rehearse=parsed.get("rehearse", False),
    )
