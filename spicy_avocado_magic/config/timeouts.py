"""Every wait and bound in one value, so that a test can shrink them together."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """All waits of the product, in seconds, and the few counts that go with them."""

    launch_s: float = 20.0
    """From starting the host process until its control socket answers."""
    stalled_s: float = 300.0
    """No progress in any stage for this long ends ``up`` as timed out."""
    engine_start_s: float = 120.0
    """From starting the engine until ``/api/version`` answers."""
    engine_check_every_s: float = 5.0
    engine_check_timeout_s: float = 4.0
    engine_misses: int = 3
    """This many missed checks in a row mean a hung engine: told within 17 s."""
    engine_stuck_s: float = 10.0
    """So does a runner that does nothing at all while requests wait for this long."""
    model_load_s: float = 600.0
    """Longest load of the first model into memory."""
    agent_start_s: float = 20.0
    """From starting the agent until its endpoint exists."""
    agent_check_every_s: float = 5.0
    agent_check_timeout_s: float = 4.0
    agent_misses: int = 2
    """This many missed checks in a row, and a URL that does not lead here within
    ``agent_proof_s``, mean a hung agent: told within 18 s."""
    agent_proof_s: float = 5.0
    probe_s: float = 30.0
    """From an endpoint's existence until it leads to this gateway."""
    probe_idle_s: float = 900.0
    """The public URL is probed after this many idle seconds."""
    pool_start_probes: int = 8
    """Times that a pool's URL is asked at the start who answers there."""
    pool_probe_every_s: float = 1800.0
    """From then on it is asked this often: 48 times a day."""
    pool_member_s: float = 10800.0
    """A member of which nothing was heard for this long is forgotten."""
    request_s: float = 30.0
    """One short request to a release host, registry or the engine."""
    stall_s: float = 20.0
    """A download without a byte for this long is started anew."""
    pull_pause_s: float = 1.0
    """Before the engine is asked anew for a pull that was ended: asked sooner, it
    attaches to the one that is dying. The backoff comes on top."""
    slow_s: float = 3.0
    """A connection that lags far behind its siblings for this long is replaced."""
    backoff_first_s: float = 0.5
    backoff_max_s: float = 60.0
    """Jitter included."""
    backoff_jitter_s: float = 0.5
    stable_s: float = 10.0
    """A component that was ready for this long, and falls, is tried again after
    ``stable_pause_s``: in which those who look on see that it fell, and why."""
    stable_pause_s: float = 0.1
    crash_window_s: float = 600.0
    """Failures longer ago than this are forgotten, once it has been ready since."""
    first_start_tries: int = 3
    """Failures before a component that was never ready is given up; a network that
    is missing does not count, and is waited for without limit."""
    restart_tries: int = 5
    """Failures within ``crash_window_s`` before a component that once was ready is
    given up; those of a missing network do not count."""
    tunnel_stop_s: float = 1.5
    gateway_stop_s: float = 1.0
    engine_stop_s: float = 2.0
    down_s: float = 10.0
    """Longest wait for a host that was told to end, before it is killed."""
    owner_check_every_s: float = 2.0
    owner_gone_s: float = 60.0
    """The host ends this long after the kernel's owner has gone."""
    ttl_warn_s: float = 600.0
    """``status`` warns this long before ``--ttl`` ends the host."""
    heartbeat_s: float = 1.0
    state_every_s: float = 0.25
    """Shortest time between two snapshots sent to a follower while only progress and
    counts change; a transition is told at once."""
    draws_a_second: int = 4
    """Most drawings of a cell in any one second, the last one included."""
    watch_every_s: float = 1.0
    """Shortest time between two drawings of ``%avocado_status --watch``."""
    upstream_connect_s: float = 5.0
    """From the gateway to the engine."""
    head_wait_s: float = 10.0
    """For a complete head of a request."""
    idle_wait_s: float = 120.0
    """A client's connection without a request is closed after this."""
    body_wait_s: float = 30.0
    """For the next bytes of a request's body."""
    silence_s: float = 900.0
    """Without a byte of the engine's reply: longer than any cold load."""
    unread_s: float = 120.0
    """While a client takes nothing of what is sent to it."""
    queue_wait_s: float = 120.0
    """For a place among the requests that the engine is given."""
    hold_wait_s: float = 60.0
    """For an engine that is being started."""
    retry_every_s: float = 0.2
    """Between two tries of a request whose engine went away."""
    comment_after_s: float = 30.0
    """A stream whose engine has said nothing for this long gets a comment, so that
    the tunnel, which cuts after 5 silent minutes, stays open."""
    comment_every_s: float = 15.0
    space_after_s: float = 120.0
    """As ``comment_after_s``, for a reply that is no stream: later, since its status
    is then decided."""
    overdraft_every_s: float = 0.25
    """How often what a key uses with several requests at a time is added up."""
    usage_every_s: float = 2.0
    """How often the use of named keys is written down, if it has changed."""

    access_log_every_s: float = 0.25
    """Longest time for which a line of the access log is held back."""
    logs_check_every_s: float = 1.0
    """How often a log that a child writes is looked at; a large one is begun anew."""
    logs_follow_every_s: float = 0.25
    """How often one who follows the logs looks for new lines."""
    metrics_every_s: float = 1.0
    """Between two samples from which tokens a second are told."""
    metrics_retry_s: float = 10.0
    """Between two tries to open a port for scrapers that could not be had."""
    diagnosis_host_s: float = 5.0
    """Longest time in which ``%avocado_doctor`` waits for one host out there."""
    diagnosis_check_s: float = 12.0
    """The same for any other check."""
    diagnosis_s: float = 40.0
    """The same for all of them together, a rehearsal's world included."""

    def scaled(self, divisor: float) -> Self:
        """Return the same policy with all waits divided; counts stay."""
        shrunk = {
            field.name: getattr(self, field.name) / divisor
            for field in fields(self)
            if field.name.endswith("_s")
        }
        counts = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if not field.name.endswith("_s")
        }
        return type(self)(**shrunk, **counts)
