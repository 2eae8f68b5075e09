"""A state as plain text."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest

from spicy_avocado_magic.client.state_text import (
    REHEARSAL_MARK,
    connection_details,
    curl_line,
    key_text,
    model_line,
    print_progress,
    progress_text,
    stage_line,
    status_text,
)
from spicy_avocado_magic.formatting import format_bytes, format_duration
from spicy_avocado_magic.protocol.state import (
    ApiKeyState,
    Failure,
    ModelState,
    ModelUsage,
    Phase,
    PoolMember,
    Progress,
    Stage,
    State,
    TrafficStats,
)

EVIL = "\x1b[31mred"
KEY = "avocado-0123456789abcdef"
FAILURE = Failure(
    kind="EngineFailed", problem="It died.", remedy="Wait.", log_tail=("\x1b[1mlast",)
)
SERVE = Stage(name="serve", component="engine", phase=Phase.READY, detail="up")
STATE = State(
    url="https://a.ngrok.app",
    local_url="http://127.0.0.1:8000",
    api_key=KEY,
    key_is_generated=True,
    stages=(SERVE,),
    models=(ModelState(name="tiny", phase=Phase.READY),),
)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_960, "1.0 MB"),
        (4_700_000_000, "4.7 GB"),
        (2e15, "2000.0 TB"),
    ],
)
def test_sizes_have_decimal_units(size_bytes: float, text: str) -> None:
    """As disks and registries use them."""
    assert format_bytes(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4 s"),
        (59.94, "59.9 s"),
        (59.97, "1 min 0 s"),
        (119.7, "2 min 0 s"),
        (125, "2 min 5 s"),
        (3599.7, "1 h 0 min"),
        (11_400, "3 h 10 min"),
    ],
)
def test_durations_are_rounded_to_readable_units(seconds: float, text: str) -> None:
    """Never ``1 min 60 s``."""
    assert format_duration(seconds) == text


def test_progress_has_bytes_rate_and_remaining_time() -> None:
    """Without a rate there is no remaining time."""
    moving = Progress(done_bytes=500, total_bytes=2000, rate_bytes_s=100)
    assert progress_text(moving) == "500 B of 2.0 kB, 100 B/s, 15.0 s left"
    assert progress_text(replace(moving, rate_bytes_s=0)) == "500 B of 2.0 kB"
    assert progress_text(replace(moving, done_bytes=2000)) == "2.0 kB of 2.0 kB"


def test_a_stage_is_one_line_without_control_characters() -> None:
    """Text from outside cannot move the cursor."""
    stage = replace(SERVE, detail="\x1b[2Jup", elapsed_s=0.31)
    assert stage_line(stage) == "✓ serve    up · 0.3 s"
    assert stage_line(replace(stage, phase=Phase.WAITING, detail="")) == "· serve"


def test_the_status_shows_every_failure_once() -> None:
    """A failure of a model and of its stage is the same one."""
    stage = replace(SERVE, phase=Phase.FAILED, failure=FAILURE)
    gone = Failure(kind="ModelUnavailable", problem="No such model.", remedy="Look.")
    models = (
        ModelState(name="a", phase=Phase.FAILED, failure=FAILURE),
        ModelState(name="b", phase=Phase.FAILED, failure=gone),
    )
    text = status_text(replace(STATE, stages=(stage,), models=models))
    assert text.count("✗ It died.") == 1
    assert "→ Wait." in text
    assert "│ last\n" in text
    assert "✗ No such model." in text


def test_the_status_has_a_line_for_everything() -> None:
    """URL, key, engine, models, requests, uptime and log."""
    text = status_text(replace(STATE, requests=3, refused=1, ends_in_s=90, uptime_s=5))
    assert "https://a.ngrok.app" in text
    assert "3 accepted, 1 refused" in text
    assert "5.0 s, ends in 1 min 30 s" in text
    assert KEY not in text


def test_the_status_shows_the_traffic() -> None:
    """Requests in flight, tokens, usage by key and the free quota."""
    traffic = TrafficStats(
        in_flight=2,
        queued=1,
        tokens_in=10,
        tokens_out=20,
        is_estimate=True,
        tokens_a_second=12.34,
        first_token_p50_s=0.25,
        first_token_p95_s=2.0,
        public_requests=40,
        public_bytes_out=5000,
        statuses=((200, 3), (401, 1)),
        models=(ModelUsage(name="m\x1b[2J", requests=3, tokens_in=10, tokens_out=20),),
    )
    alice = ApiKeyState(
        name="alice",
        requests=3,
        tokens_in=1,
        tokens_out=7,
        tokens=9,
        expires_in_s=60,
        idle_s=5,
    )
    text = status_text(replace(STATE, traffic=traffic, keys=(alice,)))
    for line in (
        "2 in progress, 1 waiting",
        "answers  3 x 200, 1 x 401",
        (
            "tokens   ≈ 10 tokens in, ≈ 20 out; 12.3 per second now; "
            "the first one after 0.2 s (median), 2.0 s (95th percentile)"
        ),
        (
            "public   40 requests, 5.0 kB sent since the start "
            "(ngrok's free plan: 20,000 and 1.0 GB a month)"
        ),
        "use      m: 3 requests, 10 tokens in, 20 out",
        (
            "use      key alice: 3 requests, 1 tokens in, 7 out (8 of 9), "
            "expires in 1 min 0 s, last 5.0 s ago"
        ),
    ):
        assert line in text, f"{line!r} is missing in {text}"
    lost = status_text(replace(STATE, traffic=replace(traffic, lost_lines=4)))
    assert "4 lines of access.log lost" in lost
    quiet = status_text(STATE)
    assert "lost" not in quiet
    assert "answers  none yet" in quiet
    assert "public " not in quiet, "a service without a tunnel speaks of ngrok"
    assert "first after" not in quiet, "a time was made up"


def test_a_model_shows_its_gpu_and_cpu_memory() -> None:
    """The part on the GPU decides its speed."""
    model = ModelState(
        name="m", phase=Phase.READY, size_bytes=10, memory_bytes=1000, gpu_bytes=600
    )
    assert model_line(model) == (
        "m: ready, 10 B on disk, 600 B on the GPU, 400 B on the CPU"
    )


def test_a_model_that_is_not_loaded_shows_its_memory_estimate() -> None:
    """Once loaded, the real sizes are shown."""
    model = ModelState(name="llama3", fit="fits on the GPU: about 5.8 GB")
    assert model_line(model) == "llama3: waiting, fits on the GPU: about 5.8 GB"
    loaded = replace(model, memory_bytes=5, gpu_bytes=5)
    assert "about" not in model_line(loaded)


@pytest.mark.parametrize(
    ("state", "show_key", "is_shown"),
    [
        (STATE, True, True),
        (STATE, False, False),
        (replace(STATE, hide_key=True), True, False),
        (replace(STATE, key_is_generated=False), True, False),
    ],
)
def test_only_a_generated_key_that_is_not_hidden_is_shown_in_full(
    state: State, show_key: bool, is_shown: bool
) -> None:
    """A key of the user is never in a saved notebook."""
    for text in (
        key_text(state, show_key=show_key),
        curl_line(state, show_key=show_key),
        connection_details(state, show_key=show_key),
    ):
        assert (KEY in text) is is_shown


def test_the_metrics_token_is_shown_once_by_the_up_that_generated_it() -> None:
    """Later the handle has it; ``--hide-key`` hides it at once."""
    token = "avocado-metrics-0123456789"
    url = "http://127.0.0.1:9464/metrics"
    state = replace(STATE, metrics_url=url, metrics_token=token)
    first = connection_details(state, show_key=False, show_token=True)
    assert token in first, "nobody could configure a scraper"
    later = connection_details(state, show_key=True)
    hidden = replace(state, hide_key=True)
    for text in (
        later,
        status_text(state),
        connection_details(hidden, show_key=True, show_token=True),
    ):
        assert url in text, "nobody knows where the metrics are"
        assert token not in text, "the token lands in every saved notebook"
        assert "avocado.metrics_token" in text, "nobody knows where to find it"
    assert "metrics" not in status_text(STATE), "metrics are promised that are not"
    pending = status_text(replace(state, metrics_url=""))
    assert "(no port yet)" in pending


def test_a_service_without_a_key_says_so() -> None:
    """``--no-auth`` shows what it means."""
    open_state = replace(STATE, api_key="")
    assert "anybody" in key_text(open_state, show_key=True)
    assert "Authorization" not in curl_line(open_state, show_key=True)


def test_the_curl_command_works_in_a_shell() -> None:
    """It asks the first model with the right key."""
    words = shlex.split(curl_line(STATE, show_key=True))
    assert words[:2] == ["curl", "https://a.ngrok.app/v1/chat/completions"]
    assert f"Authorization: Bearer {KEY}" in words
    assert json.loads(words[-1])["model"] == "tiny"
    local = curl_line(replace(STATE, url=""), show_key=True)
    assert "http://127.0.0.1:8000/v1" in local


def test_every_text_of_a_rehearsal_is_marked() -> None:
    """Nobody takes it for the real service."""
    state = replace(STATE, rehearsal=True)
    printed: list[str] = []
    print_progress(printed.append)(state)
    for text in (
        status_text(state),
        connection_details(state, show_key=True),
        printed[0],
    ):
        assert text.startswith(REHEARSAL_MARK)
    assert REHEARSAL_MARK not in status_text(STATE)


def test_each_warning_is_printed_once() -> None:
    """Without control characters."""
    printed: list[str] = []
    show = print_progress(printed.append)
    for warnings in (("one\x1b[2J",), ("one\x1b[2J", "two"), ("two",)):
        show(State(warnings=warnings))
    assert printed == ["! one\n", "! two\n"]


def test_only_changes_of_stages_are_printed() -> None:
    """A log file gets one line for each change."""
    printed: list[str] = []
    show = print_progress(printed.append)
    starting = replace(SERVE, phase=Phase.STARTING, detail="starting")
    waiting = replace(SERVE, name="warm", phase=Phase.WAITING)
    for serve in (starting, starting, SERVE, SERVE):
        show(State(stages=(serve, waiting)))
    assert printed == ["… serve    starting\n", "✓ serve    up\n"]


def test_the_status_shows_each_member_of_a_pool() -> None:
    """Which one this is, its models, and its last answer."""
    state = replace(
        STATE,
        members=(
            PoolMember(id="0a1b", models=("tiny", "other"), seen_s=2.0, is_self=True),
            PoolMember(id=f"9f9f{EVIL}", models=(EVIL,), seen_s=125.0),
            PoolMember(id="7e7e"),
        ),
    )
    lines = [x for x in status_text(state).splitlines() if x.startswith("member ")]
    assert lines == [
        "member   0a1b (this one): tiny, other, answered 2.0 s ago",
        "member   9f9fred: red, answered 2 min 5 s ago",
        "member   7e7e: no model yet, answered never",
    ]
    assert "member" not in status_text(STATE), "one who does not pool has no members"
