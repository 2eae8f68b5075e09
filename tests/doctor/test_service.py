"""The running service is judged by the state that its daemon reports."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest

from spicy_avocado_magic.client import control_client
from spicy_avocado_magic.doctor.runner import Check, run_checks
from spicy_avocado_magic.doctor.service import check_service, worst_finding
from spicy_avocado_magic.protocol.finding import CheckStatus
from spicy_avocado_magic.protocol.state import Failure, ModelState, Phase, Stage, State
from spicy_avocado_magic.protocol.state_folder import DaemonRecord, StateFolder
from spicy_avocado_magic.system.processes import identify

from .conftest import New

WHY = Failure(kind="EngineFailed", problem="It fell.", remedy="Pick it up.")
GOOD = State(
    pid=1,
    compute="NVIDIA T4",
    stages=(Stage(name="serve", component="engine", phase=Phase.READY),),
    models=(ModelState(name="tiny", phase=Phase.READY, memory_bytes=10, gpu_bytes=10),),
)
SERVE = GOOD.stages[0]


@pytest.mark.parametrize(
    ("state", "verdict", "words"),
    [
        (GOOD, CheckStatus.OK, ("ready",)),
        (
            replace(GOOD, stages=(replace(SERVE, phase=Phase.FAILED, failure=WHY),)),
            CheckStatus.BROKEN,
            ("It fell.",),
        ),
        (
            replace(GOOD, stages=(replace(SERVE, phase=Phase.BACKOFF, failure=WHY),)),
            CheckStatus.WARNING,
            ("engine", "It fell."),
        ),
        (
            replace(GOOD, stages=(replace(SERVE, phase=Phase.STARTING),)),
            CheckStatus.WARNING,
            ("being started",),
        ),
        (
            replace(GOOD, models=(replace(GOOD.models[0], gpu_bytes=0),)),
            CheckStatus.WARNING,
            ("tiny is on the CPU", "NVIDIA T4"),
        ),
        (replace(GOOD, warnings=("Beware.",)), CheckStatus.WARNING, ("Beware.",)),
    ],
)
def test_the_worst_problem_of_a_state_is_reported(
    state: State, verdict: CheckStatus, words: tuple[str, ...]
) -> None:
    """Failures come first, then restarts, then the rest."""
    found = worst_finding(state)
    assert found.verdict is verdict, found
    for word in words:
        assert word in found.what, found
    assert bool(found.remedy) is (verdict is not CheckStatus.OK)


def test_no_service_is_no_problem(new_context: New) -> None:
    """None need be running."""
    assert check_service(new_context()).verdict is CheckStatus.OK


def test_a_daemon_that_hangs_is_reported(
    new_context: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepts connections and never answers."""
    monkeypatch.setattr(control_client, "ANSWER_S", 0.1)
    monkeypatch.setattr("spicy_avocado_magic.client.launch._RETRY_STATE_S", 0.0)
    folder, me = StateFolder.find(rehearsal=False), identify(os.getpid())
    assert me is not None
    folder.write_record(DaemonRecord(host=me))
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder.socket))
        silent.listen()
        check = Check("service", check_service)
        found = run_checks(new_context(), (check,))[0]
    assert found.verdict is CheckStatus.BROKEN, found
    assert "not answered" in found.what
    assert "%avocado_down" in found.remedy
