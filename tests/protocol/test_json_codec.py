"""Dataclasses through JSON and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from spicy_avocado_magic.config.settings import Endpoints, Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.protocol.json_codec import from_json, to_json
from spicy_avocado_magic.protocol.state import (
    Event,
    Failure,
    ModelState,
    Phase,
    Progress,
    Stage,
    State,
)

STATE = State(
    sequence=7,
    ends_in_s=1.5,
    warnings=("mind the gap",),
    stages=(
        Stage(
            name="pull",
            component="models",
            phase=Phase.BACKOFF,
            progress=Progress(done_bytes=1, total_bytes=2, rate_bytes_s=0.5),
            failure=Failure(kind="K", problem="p", remedy="r", log_tail=("l",)),
        ),
    ),
    models=(ModelState(name="tiny", phase=Phase.READY),),
)


@pytest.mark.parametrize(
    "value",
    [
        STATE,
        State(),
        Timeouts().scaled(3),
        Settings(models=("a", "b"), engine_env=(("OLLAMA_DEBUG", "1"),), ttl_s=7.0),
        Endpoints(rehearsal=True),
        Event(
            sequence=1, at_s=2.0, component="c", stage="s", phase=Phase.OFF, text="t"
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_survives_the_way_through_json(value: Any) -> None:
    """A kernel reads the value that the daemon sent, with its types."""
    assert from_json(type(value), json.loads(json.dumps(to_json(value)))) == value


def test_a_newer_peer_can_be_read() -> None:
    """An unknown field is passed over, and a missing one has its default."""
    read = from_json(State, {"sequence": 3, "from_the_future": [1, {}]})
    assert read == State(sequence=3)


def test_a_whole_number_of_seconds_becomes_a_float() -> None:
    """JSON does not distinguish 2 from 2.0; the field's type does."""
    read = from_json(State, {"uptime_s": 2})
    assert isinstance(read.uptime_s, float)


@dataclass(frozen=True)
class Needy:
    """A class with a field that must be there."""

    count: int


@pytest.mark.parametrize(
    ("kind", "json_value"),
    [
        (Needy, {}),
        (Needy, {"count": "many"}),
        (Needy, {"count": None}),
        (Needy, None),
        (Needy, 3),
        (Needy, "text"),
        (State, {"stages": 3}),
        (State, {"stages": [3]}),
        (State, {"stages": [{"name": "a", "component": "b", "phase": "odd"}]}),
        (Settings, {"engine_env": [["only one"]]}),
    ],
)
def test_json_that_does_not_fit_is_refused(kind: type[Any], json_value: Any) -> None:
    """A damaged file or message never becomes a half-right value."""
    with pytest.raises((TypeError, ValueError)):
        from_json(kind, json_value)
