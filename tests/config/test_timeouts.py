"""Time-outs and counts in one value."""

from __future__ import annotations

from dataclasses import fields

from spicy_avocado_magic.config.timeouts import Timeouts


def test_scaling_divides_seconds_and_keeps_counts() -> None:
    """A test is quick without fewer retries."""
    whole, part = Timeouts(), Timeouts().scaled(4)
    for field in fields(Timeouts):
        before, after = getattr(whole, field.name), getattr(part, field.name)
        is_wait = field.name.endswith("_s")
        assert after == (before / 4 if is_wait else before), field.name
        assert isinstance(before, float if is_wait else int), field.name
