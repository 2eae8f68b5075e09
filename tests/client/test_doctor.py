"""``doctor()``: the process, the token and the report."""

from __future__ import annotations

import json
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spicy_avocado_magic.client import doctor as module
from spicy_avocado_magic.client.doctor import doctor, locate_token, run_doctor
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import SecretMissing, UsageError
from spicy_avocado_magic.protocol.finding import CheckStatus, ok
from spicy_avocado_magic.system.processes import identify
from spicy_avocado_magic.system.redaction import Secret
from tests.machine_speed import scaled

TOKEN = "2Rn6ZaVPx0AbCdEfGhIjKlMnOpQ_3cQSeYtR9uVwXyZ12345"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give each test folders of its own."""
    path = Path(tempfile.mkdtemp(prefix="avo-", dir="/tmp"))
    for name in ("NGROK_AUTHTOKEN", "NGROK_API_KEY", "AVOCADO_REHEARSE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("run", "cache", "home"):
        (path / name).mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path / "run"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(path / "cache"))
    monkeypatch.setenv("HOME", str(path / "home"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def stand_in(home: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a stand-in in the place of the process that examines."""
    program = home / "python"
    program.write_text(f"#!/bin/sh\n# A stand-in.\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def test_a_rehearsal_is_checked_and_reported(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the owner can read the report, and it has no secret."""
    report = home / "report.json"
    monkeypatch.setenv("NGROK_AUTHTOKEN", TOKEN)
    found = doctor(rehearse=True, report=report)
    verdicts = {finding.name: finding.verdict for finding in found}
    assert verdicts["registry"] is CheckStatus.OK, found
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    text = report.read_text()
    assert len(json.loads(text)["findings"]) == len(found)
    assert TOKEN not in text, "the token is in the report"
    assert str(home / "home") not in text, "the home folder is in the report"


def test_a_report_never_replaces_a_file(home: Path) -> None:
    """Neither a file nor the target of a link, and no check is run."""
    report = home / "report.json"
    report.write_text("mine")
    link = home / "link.json"
    link.symlink_to(home / "elsewhere")
    for taken in (report, link):
        with pytest.raises(UsageError, match="already exists"):
            doctor(rehearse=True, report=taken)
    assert report.read_text() == "mine"
    assert not (home / "elsewhere").exists()
    with pytest.raises(UsageError, match="no folder"):
        doctor(rehearse=True, report=home / "no" / "report.json")


def test_a_report_that_another_process_writes_meanwhile_is_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another notebook may write the same file."""
    report = home / "report.json"
    stand_in(home, monkeypatch, f"echo mine > {report}; echo '{{\"report\": 1}}'")
    with pytest.raises(UsageError, match="already exists"):
        run_doctor(rehearse=False, token={}, report=report)
    assert report.read_text() == "mine\n"


def test_a_failure_of_all_checks_is_a_finding(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package may be broken; the token is not shown."""
    stand_in(
        home, monkeypatch, f"echo 'ModuleNotFoundError: psutil {TOKEN}' >&2; exit 1"
    )
    report = home / "report.json"
    (found,) = run_doctor(rehearse=False, token={"text": TOKEN}, report=report)
    assert found.verdict is CheckStatus.BROKEN, found
    assert "ModuleNotFoundError" in found.what
    assert "%pip install" in found.remedy
    assert TOKEN not in found.what + report.read_text(), "the token is shown"


def test_output_of_a_library_does_not_damage_the_answer(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is the last line."""
    answer = '{"findings": [{"name": "a", "verdict": "ok", "what": "b"}]}'
    stand_in(home, monkeypatch, f"echo 'pip: upgrade me'; echo '{answer}'")
    (found,) = run_doctor(rehearse=False, token={})
    assert found == ok("b", name="a")


def test_hanging_checks_are_killed_with_their_children(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The children would hold the output open."""
    children = home / "children"
    stand_in(home, monkeypatch, f"sleep 60 & echo $! > {children}; sleep 60")
    timeouts = replace(Timeouts(), diagnosis_s=0.5)
    (found,) = run_doctor(rehearse=False, token={}, timeouts=timeouts)
    assert found.verdict is CheckStatus.BROKEN, found
    assert "0.5 s" in found.what
    child = int(children.read_text())
    deadline = time.monotonic() + scaled(5)
    while identify(child) is not None:
        assert time.monotonic() < deadline, "what it started outlived it"
        time.sleep(0.01)


def test_no_secret_is_in_the_environment_or_the_command_line(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent on standard input."""
    monkeypatch.setenv("NGROK_AUTHTOKEN", TOKEN)
    stand_in(
        home,
        monkeypatch,
        f'env > {home}/env; echo "$@" > {home}/line; cat > {home}/input; exit 1',
    )
    run_doctor(rehearse=False, token=locate_token({}))
    assert TOKEN not in (home / "env").read_text() + (home / "line").read_text()
    assert TOKEN in (home / "input").read_text()


def test_the_token_is_searched_in_the_places_of_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Argument, variable, environment, then the platform's secrets."""
    monkeypatch.setattr(module, "platform_secret", lambda _name: "of-the-platform")
    assert locate_token({})["origin"] == "this platform's secrets"
    monkeypatch.setenv("NGROK_AUTHTOKEN", TOKEN)
    assert locate_token({})["origin"] == "the environment"
    named = {"NGROK_AUTHTOKEN": Secret("of-the-notebook")}
    assert locate_token(named)["text"] == "of-the-notebook"
    given = locate_token(named, "given", "$MINE")
    assert (given["text"], given["origin"]) == ("given", "$MINE")
    assert not given["is_api_key"]
    monkeypatch.setenv("NGROK_API_KEY", TOKEN)
    assert locate_token({})["is_api_key"], "a text in both variables is no token"
    monkeypatch.setattr(module, "platform_secret", lambda _name: None)
    monkeypatch.delenv("NGROK_AUTHTOKEN")
    assert locate_token({}) == {}


def test_a_token_that_the_platform_withholds_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other checks are run; ``up`` explains what to switch on."""

    def withhold(_name: str) -> str:
        raise SecretMissing("No access.", "Switch it on.")

    monkeypatch.delenv("NGROK_AUTHTOKEN", raising=False)
    monkeypatch.setattr(module, "platform_secret", withhold)
    assert locate_token({}) == {}, "the examination would not have begun"
