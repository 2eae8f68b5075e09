"""Limits of the gateway as users type them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from spicy_avocado_magic.config.limits import NAMES, Limits, parse_limits
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import UsageError


def test_sizes_times_and_numbers_are_parsed() -> None:
    """Each limit has its usual unit."""
    given = parse_limits("body=1.5MB,head=8KiB,silence=15m,queue-wait=90,rpm=0")
    limits = Limits.from_timeouts(Timeouts(), given)
    assert limits.body_bytes == 3 * 2**19
    assert limits.head_bytes == 8 * 2**10
    assert (limits.silence_s, limits.queue_wait_s, limits.rpm) == (900.0, 90.0, 0)
    assert limits.queue == Limits.from_timeouts(Timeouts()).queue, (
        "a bound changed that was not given"
    )


def test_every_limit_has_a_name_to_type() -> None:
    """Every field can be set."""
    assert len(NAMES) == len(fields(Limits))
    assert parse_limits("default") == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "body",
        "body=",
        "body=x",
        "body=0",
        "concurrent=0",
        "rpm=-1",
        "silence=1d",
        "bodi=1MB",
        "rpm=1,",
        "strangers=1.5",
    ],
)
def test_a_wrong_limit_is_refused_with_a_remedy(text: str) -> None:
    """A misspelt limit is not silently ignored."""
    with pytest.raises(UsageError) as caught:
        parse_limits(text)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("body=lots", "body=512KB or body=32MB"),
        ("silence", "silence=90s or silence=15m"),
        ("rpm=-1", "rpm=16 or rpm=64"),
        ("foo=1", "rpm"),
    ],
)
def test_the_remedy_shows_a_value_that_can_be_typed(text: str, remedy: str) -> None:
    """With the name of the limit, and in its unit."""
    with pytest.raises(UsageError) as caught:
        parse_limits(text)
    assert remedy in caught.value.remedy


def test_a_misspelt_limit_gets_the_closest_match() -> None:
    """One letter may be wrong."""
    with pytest.raises(UsageError) as caught:
        parse_limits("silense=5m")
    assert "silence" in caught.value.remedy


def test_the_default_time_outs_are_those_of_the_timeouts() -> None:
    """Tests scale all of them together."""
    timeouts = Timeouts().scaled(20)
    limits = Limits.from_timeouts(timeouts)
    assert limits.hold_wait_s == timeouts.hold_wait_s


def test_stored_limits_may_have_the_name_as_it_is_typed() -> None:
    """An earlier version stored it so."""
    assert parse_limits("strangers=7") == (("unauthenticated", 7.0),)
    for stored in ("strangers", "unauthenticated"):
        limits = Limits.from_timeouts(Timeouts(), ((stored, 7.0),))
        assert limits.unauthenticated == 7
