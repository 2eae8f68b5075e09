"""``%avocado_doctor`` in a session, with fake checks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from spicy_avocado_magic.client import doctor
from spicy_avocado_magic.errors import SecretMissing, UsageError
from spicy_avocado_magic.notebook.line.command_table import DOCTOR
from spicy_avocado_magic.protocol.finding import Finding, broken, ok

from ..conftest import Session

TOKEN = "2Rn6ZaVPx0AbCdEfGhIjKlMnOpQ_3cQSeYtR9uVwXyZ12345"


class Doctor:
    """A fake of the checks: it records its arguments."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def diagnose(
        self, *, rehearse: bool, token: Mapping[str, Any], report: Path | None
    ) -> tuple[Finding, ...]:
        """Return one good and one bad finding."""
        self.asked.append({"rehearse": rehearse, "token": token, "report": report})
        return (ok("Fine.", name="first"), broken("Bad.", "Fix it.", name="second"))


@pytest.fixture
def examiner(session: Session, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Checks with the same findings each time."""
    fake = Doctor()
    monkeypatch.delenv("AVOCADO_REHEARSE", raising=False)
    monkeypatch.setattr(doctor, "run_doctor", fake.diagnose)
    return fake


def test_findings_are_printed_with_remedies_and_a_summary(
    session: Session, examiner: Doctor
) -> None:
    """They are plain text; the cell has no value."""
    assert session.run("%avocado_doctor") is None
    shown = session.printed()
    for line in ("✓ first", "✗ second", "→ Fix it.", "2 checks: 1 good, 1 broken."):
        assert line in shown, f"{line!r} is not printed"
    assert "REHEARSAL" not in shown
    assert examiner.asked == [{"rehearse": False, "token": {}, "report": None}]


def test_a_rehearsal_is_marked(
    session: Session, examiner: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the line or the environment asks for it."""
    session.run("%avocado_doctor --rehearse")
    assert "REHEARSAL" in session.printed()
    monkeypatch.setenv("AVOCADO_REHEARSE", "1")
    session.run("%avocado_doctor")
    assert "REHEARSAL" in session.printed()
    assert all(asked["rehearse"] for asked in examiner.asked)


def test_a_token_in_a_variable_is_checked_and_never_shown(
    session: Session, examiner: Doctor
) -> None:
    """The finding names its variable."""
    session.run(f"MINE = {TOKEN!r}\n%avocado_doctor --token $MINE")
    assert examiner.asked[0]["token"]["text"] == TOKEN
    assert examiner.asked[0]["token"]["origin"] == "$MINE"
    session.run(f"%avocado_doctor --token {TOKEN}")
    assert examiner.asked[1]["token"]["origin"] == "--token"
    session.run(f"NGROK_AUTHTOKEN = {TOKEN!r}\n%avocado_doctor")
    assert "NGROK_AUTHTOKEN" in examiner.asked[2]["token"]["origin"]
    assert TOKEN not in session.printed()
    assert isinstance(session.fail("%avocado_doctor --token $NOWHERE"), SecretMissing)


def test_the_path_of_the_report_is_printed(
    session: Session, examiner: Doctor, tmp_path: Path
) -> None:
    """The user should read it before publishing it."""
    session.run(f"%avocado_doctor --report {tmp_path}/x.json")
    assert examiner.asked[0]["report"] == tmp_path / "x.json"
    assert f"{tmp_path}/x.json" in session.printed()


def test_help_is_printed_and_nothing_is_checked(
    session: Session, examiner: Doctor
) -> None:
    """It is the help of this command."""
    session.run("%avocado_doctor --help")
    assert DOCTOR.help() in session.printed()
    assert examiner.asked == []


@pytest.mark.parametrize("line", ["--reprot x", "now", "--report"])
def test_a_line_that_cannot_be_right_is_refused(
    session: Session, examiner: Doctor, line: str
) -> None:
    """The error is two lines, and no check was run."""
    error: Any = session.fail(f"%avocado_doctor {line}")
    assert isinstance(error, UsageError)
    assert len(error._render_traceback_()) == 2
    assert examiner.asked == []
