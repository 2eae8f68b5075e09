"""The examination as a process."""

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


def examine(asked: DoctorRequest, **variables: str) -> str:
    """Return what the process prints."""
    package = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-P", "-m", "spicy_avocado_magic.doctor"],
        input=json.dumps(to_json(asked)) + "\n",
        env=os.environ | {"PYTHONPATH": package} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def test_a_check_that_hangs_does_not_hold_the_process(home: Path) -> None:
    """As an agent on a disk that no longer answers: here a pipe without a writer."""
    os.mkfifo(home / "ngrok")
    closed = "127.0.0.1:1"
    asked = DoctorRequest(
        policy=replace(Timeouts(), diagnosis_check_s=3.0),
        sources=Endpoints(
            releases_url=f"http://{closed}",
            registry=closed,
            edge_address=closed,
            tunnel_program=str(home / "ngrok"),
        ),
    )
    answer = json.loads(examine(asked).splitlines()[-1])
    found = {one["name"]: one for one in answer["findings"]}
    assert found["agent"]["verdict"] == "unknown", found["agent"]
    assert found["registry"]["verdict"] == "broken", found["registry"]
    assert answer["report"] == {}, "a report that nobody asked for"


def test_a_rehearsal_without_a_host_has_a_world_of_its_own(home: Path) -> None:
    """All that is out there is on loopback, and gone when the process is."""
    scratch = home / "scratch"
    scratch.mkdir()
    asked = DoctorRequest(rehearse=True, with_report=True, token=Token(text=TOKEN))
    said = examine(asked, TMPDIR=str(scratch))
    assert TOKEN not in said, "the token is told"
    answer = json.loads(said.splitlines()[-1])
    found = {one["name"]: one for one in answer["findings"]}
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
    assert not left, "the world outlived the examination"
