"""The doctor as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil

from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.doctor.checks import CHECKS
from spicy_avocado_magic.doctor.context import DoctorRequest, Token
from spicy_avocado_magic.protocol.json_codec import to_json

TOKEN = "2Rn6ZaVPx0AbCdEfGhIjKlMnOpQ_3cQSeYtR9uVwXyZ12345"


def run_doctor(request: DoctorRequest, **variables: str) -> str:
    """Return the output of the process."""
    package = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-P", "-m", "spicy_avocado_magic.doctor"],
        input=json.dumps(to_json(request)) + "\n",
        env=os.environ | {"PYTHONPATH": package} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def test_a_check_that_hangs_does_not_block_the_process(home: Path) -> None:
    """The agent is a pipe without a writer, like a disk that no longer answers."""
    os.mkfifo(home / "ngrok")
    closed = "127.0.0.1:1"
    request = DoctorRequest(
        timeouts=replace(Timeouts(), diagnosis_check_s=3.0),
        sources=Endpoints(
            releases_url=f"http://{closed}",
            registry=closed,
            edge_address=closed,
            tunnel_program=str(home / "ngrok"),
        ),
    )
    answer = json.loads(run_doctor(request).splitlines()[-1])
    found = {finding["name"]: finding for finding in answer["findings"]}
    assert found["agent"]["verdict"] == "unknown", found["agent"]
    assert found["registry"]["verdict"] == "broken", found["registry"]
    assert answer["report"] == {}, "a report that was not requested"


def test_a_rehearsal_without_a_daemon_starts_its_own_world(home: Path) -> None:
    """All remote hosts are on loopback, and end with the process."""
    scratch = home / "scratch"
    scratch.mkdir()
    request = DoctorRequest(rehearse=True, with_report=True, token=Token(text=TOKEN))
    output = run_doctor(request, TMPDIR=str(scratch))
    assert TOKEN not in output, "the token is shown"
    answer = json.loads(output.splitlines()[-1])
    found = {finding["name"]: finding for finding in answer["findings"]}
    assert list(found) == [check.name for check in CHECKS]
    for name in ("registry", "releases", "ngrok", "agent", "clock", "token"):
        assert found[name]["verdict"] == "ok", found[name]
    assert "127.0.0.1" in found["registry"]["what"]
    assert answer["report"]["rehearsal"] is True
    assert not list(scratch.iterdir()), "the world's files outlived it"
    left = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(scratch) in " ".join(process.info["cmdline"] or ())
    ]
    assert not left, "the world outlived the process"
