"""Keys and traffic in the state."""

from __future__ import annotations

import time

import pytest

from spicy_avocado_magic.config.api_keys import ANONYMOUS, OWNER, ApiKey
from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.daemon.traffic import traffic_fields
from spicy_avocado_magic.gateway.authentication import Caller
from spicy_avocado_magic.gateway.counters import Metrics
from spicy_avocado_magic.protocol.json_codec import from_json, to_json
from spicy_avocado_magic.protocol.state import State

from ..gateway.fake_requests import Writer, make_context

ALICE = ApiKey(
    name="alice", secret="alices-key-0123456789", rpm=5, tokens=100, models=("m",)
)


@pytest.fixture
def metrics() -> Metrics:
    """Metrics after one answer to Alice, while another request is open."""
    now = iter(range(100, 200))
    metrics = Metrics(clock=lambda: float(next(now)))
    for is_done in (True, False):
        context = make_context(
            Caller(name="alice"),
            writer=Writer(output_size=7),
            model="m:latest",
            is_public=True,
        )
        metrics.request_started(context)
        metrics.admitted(context)
        if is_done:
            context.record_chunk(b'{"response":"x","done":false}\n' * 3)
            context.status = 200
            metrics.request_finished(context)
    return metrics


def state_of(metrics: Metrics, settings: Settings) -> State:
    """Return the state as it arrives at a kernel."""
    state = State(**traffic_fields(metrics, settings, queued=2))
    return from_json(State, to_json(state))


def test_the_state_has_current_and_past_traffic(metrics: Metrics) -> None:
    """Counts, tokens, waits and the use of the public URL cross to the kernel."""
    state = state_of(metrics, Settings(keys=(ALICE,)))
    traffic = state.traffic
    assert (state.requests, traffic.in_flight, traffic.queued) == (2, 1, 2)
    assert (traffic.tokens_out, traffic.is_estimate) == (3, True)
    assert traffic.statuses == ((200, 1),)
    assert (traffic.public_requests, traffic.public_bytes_out) == (1, 14)
    assert traffic.first_token_p50_s is not None
    (model,) = traffic.models
    assert (model.name, model.requests, model.tokens_out) == ("m:latest", 1, 3)


def test_every_key_is_listed_with_its_bounds_and_its_use(metrics: Metrics) -> None:
    """The owner's first; one that was never used as well."""
    bob = ApiKey(
        name="bob",
        secret="bobs-key-0123456789",
        expires_at=time.time() - 9,
        manage=True,
    )
    owner, alice, unused = state_of(
        metrics, Settings(manage=True, keys=(ALICE, bob))
    ).keys
    assert (owner.name, owner.manage, owner.requests) == (OWNER, True, 0)
    assert (alice.name, alice.rpm, alice.tokens) == ("alice", 5, 100)
    assert (alice.models, alice.manage) == (("m",), False)
    assert (alice.requests, alice.tokens_out, alice.is_estimate) == (2, 3, True)
    assert alice.idle_s is not None
    assert alice.expires_in_s is None
    assert (unused.name, unused.manage, unused.idle_s) == ("bob", True, None)
    assert unused.expires_in_s == 0, "an expired key has a negative time left"


def test_no_key_may_manage_where_managing_is_off(metrics: Metrics) -> None:
    """What is shown is what holds."""
    key = ApiKey(name="bob", secret="bobs-key-0123456789", manage=True)
    keys = state_of(metrics, Settings(keys=(key,))).keys
    assert not any(key.manage for key in keys)


def test_without_keys_there_is_one_that_stands_for_anybody(metrics: Metrics) -> None:
    """``--no-auth`` is plain to see."""
    keys = state_of(metrics, Settings(no_auth=True, keys=(ALICE,))).keys
    assert [key.name for key in keys] == [ANONYMOUS]


def test_no_secret_of_a_key_is_in_the_state(metrics: Metrics) -> None:
    """A state is shown and logged; secrets are not."""
    assert ALICE.secret not in repr(state_of(metrics, Settings(keys=(ALICE,))))
