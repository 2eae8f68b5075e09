"""What ``%avocado_doctor`` does: examine, print, write the report."""

from __future__ import annotations

from pathlib import Path

from ...protocol.finding import findings_text
from ..display.view import say
from ..line.commands import DOCTOR
from ..line.parser import parse_option, sort_words
from ..line.variables import Names


def run_doctor(line: str, names: Names) -> None:
    """Do what a line asks for.

    Args:
        line: All that follows the magic's name.
        names: Where ``$NAME`` is looked up.

    Raises:
        UsageMistake: If it cannot be right, or the report cannot be written there.
        SecretMissing: If a ``$NAME`` is nowhere.
    """
    typed = sort_words(line, DOCTOR)
    if typed is None:
        say(DOCTOR.help())
        return
    known = DOCTOR.option_by_flag
    asked = {
        known[flag].name: parse_option(known[flag], names.resolve(text))
        for flag, text in typed.options.items()
    }
    from ...client.doctor import diagnose, find_token
    from ...client.launch import is_rehearsal_asked_for

    rehearse = asked.get("rehearse", False) or is_rehearsal_asked_for()
    origin = typed.options.get("--token", "")
    token = find_token(
        names.namespace,
        asked.get("token", ""),
        origin if origin.startswith("$") else "--token",
    )
    report = Path(asked["report"]) if "report" in asked else None
    findings = diagnose(rehearse=rehearse, token=token, report=report)
    say(findings_text(findings), rehearsal=rehearse)
    if report is not None:
        say(f"The report is {report}: look through it before you publish it.")
