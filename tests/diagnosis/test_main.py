"""The examination as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil

from spicy_avocado_magic.diagnosis.case import Request, Token
from spicy_avocado_magic.diagnosis.table import CHECKS
from spicy_avocado_magic.json_codec import to_json

TOKEN = "2Rn6ZaVPx0AbCdEfGhIjKlMnOpQ_3cQSeYtR9uVwXyZ12345"


def test_a_rehearsal_without_a_host_has_a_world_of_its_own(home: Path) -> None:
    """All that is out there is on loopback, and gone when the process is."""
    scratch = home / "scratch"
    scratch.mkdir()
    asked = Request(rehearse=True, with_report=True, token=Token(text=TOKEN))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "spicy_avocado_magic.diagnosis"],
        input=json.dumps(to_json(asked)) + "\n",
        env=os.environ
        | {"TMPDIR": str(scratch), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert TOKEN not in done.stdout + done.stderr, "the token is told"
    answer = json.loads(done.stdout)
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
