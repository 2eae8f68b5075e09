"""The launch request and its reply as JSON."""

from __future__ import annotations

import json

from spicy_avocado_magic.protocol.json_codec import from_json, to_json
from spicy_avocado_magic.protocol.launch_request import LaunchReply, LaunchRequest
from spicy_avocado_magic.protocol.state import Failure
from spicy_avocado_magic.system.processes import Identity


def test_a_request_arrives_as_it_was_sent() -> None:
    """Options, time-outs and owner cross the pipe."""
    request = LaunchRequest(
        given={"models": ["tiny"]},
        only=True,
        endpoints={"rehearsal": True},
        timeouts={"launch_s": 5.0},
        owner=Identity(pid=7, start="9"),
    )
    line = json.dumps(to_json(request))
    assert "\n" not in line
    assert from_json(LaunchRequest, json.loads(line)) == request


def test_a_failed_start_is_one_line_with_its_error() -> None:
    """The kernel reads one line and knows the error's class."""
    failure = Failure(kind="TunnelFailed", problem="It fell.\nBadly.", remedy="Wait.")
    line = json.dumps(to_json(LaunchReply(failure=failure)))
    assert "\n" not in line
    assert from_json(LaunchReply, json.loads(line)).failure == failure
