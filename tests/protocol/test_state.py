"""Derived values of a state snapshot."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.protocol.state import (
    COMPONENTS,
    STAGES,
    Failure,
    ModelState,
    Phase,
    Progress,
    Stage,
    State,
)

FAILURE = Failure(kind="EngineFailed", problem="It died.", remedy="Wait.")


def state(*phases: Phase, models: tuple[ModelState, ...] = ()) -> State:
    """Return a state with engine stages in these phases."""
    stages = tuple(
        Stage(name=f"stage{number}", component="engine", phase=phase)
        for number, phase in enumerate(phases)
    )
    return State(stages=stages, models=models)


def test_every_stage_belongs_to_a_component() -> None:
    """Each component is seen through at least one stage."""
    assert {component for _, component in STAGES} == set(COMPONENTS)


@pytest.mark.parametrize(
    ("phases", "worst"),
    [
        ((Phase.READY, Phase.READY), Phase.READY),
        ((Phase.READY, Phase.WAITING), Phase.WAITING),
        ((Phase.WAITING, Phase.STARTING), Phase.STARTING),
        ((Phase.STARTING, Phase.BACKOFF), Phase.BACKOFF),
        ((Phase.BACKOFF, Phase.FAILED), Phase.FAILED),
        ((Phase.OFF, Phase.READY), Phase.READY),
        ((Phase.OFF, Phase.OFF), Phase.OFF),
        ((), Phase.OFF),
    ],
)
def test_a_component_is_as_its_worst_stage(
    phases: tuple[Phase, ...], worst: Phase
) -> None:
    """A part is ready when all of it is."""
    assert state(*phases).component("engine") is worst


def test_all_must_be_ready_stages_and_models() -> None:
    """What is not wanted does not count; an empty state is not ready."""
    ready = ModelState(name="a", phase=Phase.READY)
    assert state(Phase.READY, Phase.OFF, models=(ready,)).is_ready
    assert not state(Phase.READY, models=(ModelState(name="b"),)).is_ready
    assert not state(Phase.READY, Phase.BACKOFF).is_ready
    assert not State().is_ready


def test_only_what_was_given_up_is_a_failure() -> None:
    """A part that will be tried again is not reported as failed."""
    stage = Stage(
        name="serve", component="engine", phase=Phase.BACKOFF, failure=FAILURE
    )
    assert State(stages=(stage,)).failure is None
    model = ModelState(name="a", phase=Phase.FAILED, failure=FAILURE)
    assert State(stages=(stage,), models=(model,)).failure is FAILURE


def test_a_stage_is_found_by_its_name() -> None:
    """A stage that is not there is a KeyError."""
    assert state(Phase.READY).stage("stage0").phase is Phase.READY
    with pytest.raises(KeyError):
        state().stage("serve")


@pytest.mark.parametrize(
    ("done", "total", "rate", "fraction", "left"),
    [
        (0, 0, 0.0, 0.0, None),
        (50, 100, 0.0, 0.5, None),
        (50, 100, 25.0, 0.5, 2.0),
        (120, 100, 1.0, 1.0, 0.0),
    ],
)
def test_progress_has_a_fraction_and_the_time_left(
    done: int, total: int, rate: float, fraction: float, left: float | None
) -> None:
    """No division by zero, no negative time."""
    progress = Progress(done_bytes=done, total_bytes=total, rate_bytes_s=rate)
    assert (progress.fraction, progress.left_s) == (fraction, left)


def test_the_engine_text_before_and_after_the_engine_is_known() -> None:
    """``%avocado_status`` may be asked at any time."""
    assert State().engine_text == "(none yet)"
    up = State(engine="Ollama 0.34.1", compute="CPU")
    assert up.engine_text == "Ollama 0.34.1 on CPU"
