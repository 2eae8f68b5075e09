"""``%avocado_doctor``: run the checks, print the findings, write the report."""

from __future__ import annotations

from pathlib import Path

from ...client import doctor
from ...client.launch import rehearsal_requested
from ...protocol.finding import findings_text
from ..line.parser import sort_words
from ..session import MagicCall, print_line


def run(call: MagicCall) -> None:
    """Run the checks and print what they found.

    Raises:
        UsageError: If the line is wrong, or the report cannot be written there.
        SecretMissing: If a ``$NAME`` is not defined anywhere.
    """
    values = call.parse()
    rehearse = values["rehearse"] or rehearsal_requested()
    typed = sort_words(call.spec, call.line).options.get("--token", "")
    token = doctor.locate_token(
        call.variables.namespace,
        values["token"] or "",
        typed if typed.startswith("$") else "--token",
    )
    report = Path(values["report"]) if values["report"] else None
    findings = doctor.run_doctor(rehearse=rehearse, token=token, report=report)
    print_line(findings_text(findings), rehearsal=rehearse)
    if report is not None:
        print_line(f"The report is in {report}. Read it before you publish it.")
