"""The card of ``%avocado_status``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spicy_avocado_magic.client.last_run import RecentError
from spicy_avocado_magic.client.state_text import REHEARSAL_MARK
from spicy_avocado_magic.notebook.display.html import MAX_BYTES
from spicy_avocado_magic.notebook.display.status import render_status
from spicy_avocado_magic.protocol.state import (
    ApiKeyState,
    ModelState,
    ModelUsage,
    Phase,
    PoolMember,
    Stage,
    State,
    TrafficStats,
)

from ..conftest import KEY, READY
from .pages import EVILS, FAILURE, Page, all_of, failed

BUSY = replace(
    READY,
    uptime_s=125.0,
    ends_in_s=60.0,
    requests=7,
    refused=2,
    stages=(
        Stage(name="serve", component="engine", phase=Phase.READY),
        Stage(name="pull", component="models", phase=Phase.READY),
        Stage(name="gateway", component="gateway", phase=Phase.READY),
        Stage(name="tunnel", component="tunnel", phase=Phase.READY),
    ),
    models=(
        ModelState(
            name="llama3",
            phase=Phase.READY,
            size_bytes=4_700_000_000,
            memory_bytes=6_000_000_000,
            gpu_bytes=4_000_000_000,
        ),
        ModelState(name="tiny", phase=Phase.READY),
    ),
    keys=(
        ApiKeyState(name="owner", requests=5, tokens_in=12, tokens_out=40, idle_s=5.0),
        ApiKeyState(name="ann", rpm=60, requests=2, tokens_in=1, tokens_out=2),
    ),
    traffic=TrafficStats(
        in_flight=2,
        queued=1,
        tokens_in=13,
        tokens_out=42,
        tokens_a_second=31.42,
        first_token_p50_s=0.25,
        first_token_p95_s=2.0,
        public_requests=400,
        public_bytes_out=4_000_000,
        models=(
            ModelUsage(name="llama3:latest", requests=7, tokens_in=13, tokens_out=42),
        ),
        statuses=((200, 6), (500, 1)),
    ),
)
PAST = (
    RecentError(
        at="2026-11-25 14:03:07",
        component="tunnel",
        problem="The agent fell.",
        remedy="It is started again.",
        times=2,
    ),
)


def test_the_card_shows_everything_about_a_service() -> None:
    """Parts, URL, memory on GPU and CPU, keys, speed, quota, last errors."""
    picture = render_status(BUSY, PAST)
    text = Page(picture.html).text
    for word in (
        "✓ Serving llama3, tiny",
        "up 2 min 5 s, ends in 1 min 0 s",
        "engine: ready",
        "tunnel: ready",
        BUSY.url,
        "31.4 per second now; the first one after 0.2 s (median), 2.0 s (95th",
        "7 accepted, 2 refused, ",
        "2 in progress, 1 waiting",
        "answers6 x 200, 1 x 500",
        "llama3ready4.7 GB4.0 GB2.0 GB713 / 42",
        "tinyready" + "not loaded" * 2 + "00 / 0",
        "ann60 requests/min21 / 2",
        "400 of 20,000 requests",
        "4.0 MB of 1.0 GB sent",
        "The agent fell. → It is started again. (2 times)",
    ):
        assert word in text, f"{word!r} is missing in {text}"


def test_the_text_has_the_same_information() -> None:
    """For terminals, and where HTML is not shown."""
    text = render_status(BUSY, PAST).text
    for word in (
        BUSY.url,
        "31.4 per second now",
        "4.0 GB on the GPU, 2.0 GB on the CPU",
        "key ann",
        "public   400 requests",
        "error    2026-11-25 14:03:07 tunnel: The agent fell.",
    ):
        assert word in text, f"{word!r} is missing in {text}"


def test_status_masks_every_secret() -> None:
    """Also one that was shown by the ``up`` that created it."""
    state = replace(BUSY, metrics_token="avocado-metrics-0123456789")
    for moving in (True, False):
        picture = render_status(state, PAST, is_moving=moving)
        for form in (picture.html, picture.text):
            assert KEY not in form
            assert "avocado-metrics-0123456789" not in form
            assert "avocado.metrics_token" in form, "nobody knows where to find it"


def test_a_quota_is_an_accessible_meter() -> None:
    """A service without public requests has none."""
    meters = Page(render_status(BUSY).html).found("role", "meter")
    assert [meter["aria-valuenow"] for meter in meters] == ["2", "0"]
    quiet = replace(BUSY, traffic=TrafficStats())
    assert "free month" not in Page(render_status(quiet).html).text


def test_a_failure_is_shown_with_its_log() -> None:
    """Once, even if a stage and a model have it; the stages are open."""
    model = ModelState(name="llama3", phase=Phase.FAILED, failure=FAILURE)
    page = Page(render_status(replace(failed(), models=(model,))).html)
    (card,) = page.found("class", "avocado-card")
    assert card["data-phase"] == "failed"
    assert "✗ Failed: llama3" in page.text
    assert len(page.found("class", "avocado-failure")) == 1, "it is shown twice"
    assert len(page.found("data-fold", "log")) == 1
    (stages,) = page.found("data-fold", "stages")
    assert "open" in stages


def test_a_card_that_is_redrawn_has_no_folds() -> None:
    """An update would close them while they are being read."""
    page = Page(render_status(failed(), PAST, is_moving=True).html)
    assert [tag for tag, _ in page.seen if tag == "details"] == []
    assert "The engine died." in page.text


def test_a_service_that_is_starting_says_so() -> None:
    """It has no URL yet."""
    starting = replace(
        BUSY, url="", stages=(*BUSY.stages, Stage(name="w", component="models"))
    )
    picture = render_status(starting)
    assert "… Starting llama3" in Page(picture.html).text
    assert "(none yet)" in Page(picture.html).text
    local = replace(READY, url="")
    assert "(none: --local)" in Page(render_status(local).html).text


def test_many_rows_are_counted_and_the_size_is_bounded() -> None:
    """A service with a hundred keys still fits into a message."""
    crowd = replace(
        BUSY,
        keys=tuple(ApiKeyState(name=f"k{n}") for n in range(100)),
        models=tuple(ModelState(name=f"m{n}") for n in range(30)),
        members=tuple(PoolMember(id=f"i{n}", models=("tiny",)) for n in range(30)),
    )
    picture = render_status(crowd, PAST)
    assert picture.size_bytes <= MAX_BYTES, f"{picture.size_bytes} bytes"
    text = Page(picture.html).text
    assert "… and 90 more (%avocado_keys lists all)" in text
    assert "… and 21 more" in text, "models, the one that is only used included"
    assert "… and 20 more" in text, "members"


def test_the_members_of_a_pool_have_a_row_each() -> None:
    """With their models, and the time of their last answer."""
    members = (
        PoolMember(id="0a1b", models=("tiny",), seen_s=2.0, is_self=True),
        PoolMember(id="9f9f"),
    )
    text = Page(render_status(replace(BUSY, members=members)).html).text
    assert "0a1b (this one)tiny2.0 s ago" in text
    assert "9f9fno model yetnever" in text


def test_lost_lines_of_the_access_log_are_counted() -> None:
    """A log with gaps must not look complete."""
    full = replace(BUSY, traffic=replace(BUSY.traffic, lost_lines=4))
    assert "4 lines of access.log lost" in Page(render_status(full).html).text


@pytest.mark.parametrize("evil", EVILS)
@pytest.mark.parametrize("rehearsal", [True, False])
def test_text_from_outside_is_escaped(evil: str, rehearsal: bool) -> None:
    """Keys, models, members and errors run nothing and fetch nothing."""
    state: State = all_of(evil, rehearsal=rehearsal)
    past = [RecentError(at=evil, component=evil, problem=evil, remedy=evil)]
    for moving in (True, False):
        picture = render_status(state, past, is_moving=moving)
        Page(picture.html).require_harmless()
        for form in (picture.html, picture.text):
            assert "\x1b" not in form, "a terminal would obey it"
            assert (REHEARSAL_MARK in form) is rehearsal
            assert form.count(REHEARSAL_MARK) <= 1, "the mark is shown twice"
