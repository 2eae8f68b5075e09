"""All time-outs, intervals and retry counts, in one value that a test can shrink."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTimeouts:
    """Time-outs of one request at the gateway; ``--limit`` sets each of them."""

    head_wait_s: float = 10.0
    """Longest wait for a complete header section, from the opening of a connection
    or from the first byte of a further request on it."""
    idle_wait_s: float = 120.0
    """A connection without a request is closed after this."""
    body_wait_s: float = 30.0
    """Longest wait for the next bytes of a request's body, and for the end of a body
    that was refused."""
    silence_s: float = 900.0
    """Longest time without a byte of the engine's response: more than any cold load
    of a model takes."""
    unread_s: float = 120.0
    """Longest time in which a client reads nothing of what is sent to it."""
    queue_wait_s: float = 120.0
    """Longest wait in the queue for one of the ``concurrent`` slots."""
    hold_wait_s: float = 60.0
    """Longest wait for an engine that is starting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts(RequestTimeouts):
    """All time-outs and intervals in seconds, and the counts that go with them."""

    launch_s: float = 20.0
    """From starting the daemon until its control socket answers."""
    stalled_s: float = 300.0
    """``up`` times out after this long without progress in any stage."""
    engine_start_s: float = 120.0
    """From starting the engine until ``/api/version`` answers."""
    engine_check_every_s: float = 5.0
    engine_check_timeout_s: float = 4.0
    engine_misses: int = 3
    """Failed checks in a row that mean a hung engine: detected within 17 s."""
    engine_stuck_s: float = 10.0
    """A runner that is idle for this long while requests wait means the same."""
    model_load_s: float = 600.0
    """Longest load of the first model into memory."""
    agent_start_s: float = 20.0
    """From starting the agent until its endpoint exists."""
    agent_check_every_s: float = 5.0
    agent_check_timeout_s: float = 4.0
    agent_misses: int = 2
    """Failed checks in a row that mean a hung agent, if the URL does not lead to this
    gateway within ``agent_proof_s`` either: detected within 18 s."""
    agent_proof_s: float = 5.0
    probe_s: float = 30.0
    """From an endpoint's existence until it leads to this gateway."""
    probe_idle_s: float = 900.0
    """The public URL is probed after this long without a request."""
    pool_start_probes: int = 8
    """Probes of a pool's URL at the start, which find its members."""
    pool_probe_every_s: float = 1800.0
    """Interval of the later probes: 48 a day."""
    pool_member_s: float = 10800.0
    """A member that no probe reached for this long is forgotten."""
    request_s: float = 30.0
    """One short request to a release host, registry or the engine."""
    stall_s: float = 20.0
    """A download that receives no byte for this long is restarted."""
    pull_pause_s: float = 1.0
    """Pause before a pull that was cancelled is requested again: earlier, the engine
    attaches to the one that is ending. The backoff comes on top."""
    slow_s: float = 3.0
    """A connection far slower than the others for this long is replaced."""
    backoff_first_s: float = 0.5
    backoff_max_s: float = 60.0
    """Jitter included."""
    backoff_jitter_s: float = 0.5
    stable_s: float = 10.0
    """A component that fails after it was ready for this long is retried after
    ``stable_pause_s``, in which viewers see that it failed, and why."""
    stable_pause_s: float = 0.1
    crash_window_s: float = 600.0
    """Earlier failures are forgotten, if the component has been ready since."""
    first_start_tries: int = 3
    """Failures before a component that was never ready is given up. A missing network
    does not count: it is waited for without limit."""
    restart_tries: int = 5
    """Failures within ``crash_window_s`` before a component that was ready before is
    given up; a missing network does not count."""
    tunnel_stop_s: float = 1.5
    gateway_stop_s: float = 1.0
    engine_stop_s: float = 2.0
    down_s: float = 10.0
    """Longest wait for the daemon to end after ``down``, before it is killed."""
    owner_check_every_s: float = 2.0
    owner_gone_s: float = 60.0
    """The daemon ends this long after the kernel's owner has gone."""
    ttl_warn_s: float = 600.0
    """``status`` warns this long before ``--ttl`` ends the daemon."""
    heartbeat_s: float = 1.0
    state_every_s: float = 0.25
    """Shortest time between two snapshots sent to a follower while only progress and
    counts change; a transition is sent at once."""
    draws_a_second: int = 4
    """Most redraws of a cell in any one second, the last one included."""
    watch_every_s: float = 1.0
    """Shortest time between two redraws of ``%avocado_status --watch``."""
    upstream_connect_s: float = 5.0
    """From the gateway to the engine."""
    retry_every_s: float = 0.2
    """Between two tries of a request after the engine closed the connection."""
    comment_after_s: float = 30.0
    """A stream without a byte from the engine for this long gets a comment: the
    tunnel closes a connection after 5 silent minutes."""
    comment_every_s: float = 15.0
    space_after_s: float = 120.0
    """As ``comment_after_s``, for a response that is no stream: later, because it
    fixes the status code."""
    overdraft_every_s: float = 0.25
    """How often the token use of a key's concurrent requests is summed."""
    usage_every_s: float = 2.0
    """How often the use of named keys is saved, if it has changed."""
    access_log_every_s: float = 0.25
    """Longest time for which a line of the access log is buffered."""
    logs_check_every_s: float = 1.0
    """How often the size of a child's log is checked; a large one is rotated."""
    logs_follow_every_s: float = 0.25
    """How often a follower of the logs reads new lines."""
    metrics_every_s: float = 1.0
    """Between two samples of the tokens a second."""
    metrics_retry_s: float = 10.0
    """Between two tries to open the metrics port."""
    diagnosis_host_s: float = 5.0
    """Longest wait of ``%avocado_doctor`` for one network host."""
    diagnosis_check_s: float = 12.0
    """Longest time of any other check."""
    diagnosis_s: float = 40.0
    """Longest time of all checks together, start of a rehearsal included."""

    def scaled(self, divisor: float) -> Self:
        """Return these time-outs with all seconds divided; counts stay."""
        waits = [field.name for field in fields(self) if field.name.endswith("_s")]
        return replace(self, **{name: getattr(self, name) / divisor for name in waits})
