"""What ``%avocado_doctor`` does: examine, print, write the report."""

from __future__ import annotations

from pathlib import Path

from ...protocol.finding import findings_text
from ..display.view import print_line
from ..line.commands import DOCTOR
from ..line.parser import parse_line, parse_option
from ..line.variables import VariableResolver


def run_doctor(line: str, names: VariableResolver) -> None:
    """Do what a line asks for.

    Args:
        line: All that follows the magic's name.
        names: Where ``$NAME`` is looked up.

    Raises:
        UsageError: If it cannot be right, or the report cannot be written there.
        SecretMissing: If a ``$NAME`` is nowhere.
    """
    typed = parse_line(line, DOCTOR)
    if typed is None:
        print_line(DOCTOR.help())
        return
    known = DOCTOR.option_by_flag
    asked = {
        known[flag].name: parse_option(known[flag], names.resolve(text))
        for flag, text in typed.options.items()
    }
    from ...client.doctor import find_token, run_doctor
    from ...client.launch import rehearsal_requested

    rehearse = asked.get("rehearse", False) or rehearsal_requested()
    origin = typed.options.get("--token", "")
    token = find_token(
        names.namespace,
        asked.get("token", ""),
        origin if origin.startswith("$") else "--token",
    )
    report = Path(asked["report"]) if "report" in asked else None
    findings = run_doctor(rehearse=rehearse, token=token, report=report)
    print_line(findings_text(findings), rehearsal=rehearse)
    if report is not None:
        print_line(f"The report is {report}: look through it before you publish it.")
