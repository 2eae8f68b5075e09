"""How often a card is sent while a pull moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import pytest

from spicy_avocado_magic.rehearsal.switches import VARIABLE
from tests.main_job.home import Home

from .cells import good, loaded_kernel, new_kernel_home

MOST_A_SECOND: Final = 4


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give the kernel a home whose downloads take seconds."""
    with new_kernel_home(monkeypatch) as made:
        faults = made.path / "faults.json"
        faults.write_text(json.dumps({"bytes_s": 400_000}))
        monkeypatch.setenv(VARIABLE, str(faults))
        yield made


def test_a_card_is_sent_at_most_four_times_a_second(home: Home) -> None:
    """By the kernel's own clock: a browser on a slow line can follow."""
    with loaded_kernel() as kernel:
        output = kernel.run("%avocado_up tiny --rehearse --local")
    good(output)
    sent_s = output.sent_s
    assert len(sent_s) > 2 * MOST_A_SECOND, f"the card has hardly moved: {sent_s}"
    for first, fifth in zip(sent_s, sent_s[MOST_A_SECOND:], strict=False):
        assert fifth - first >= 1.0, f"five displays in {fifth - first:.2f} s"
