"""What a card costs: how often it is sent, and how large it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import pytest

from spicy_avocado_magic import down
from spicy_avocado_magic.rehearsal.switches import VARIABLE
from tests.main_job.home import Home

from .home import kernel_home
from .kernel import new_kernel

MOST_A_SECOND: Final = 4
LARGEST_BYTES: Final = 20_000


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give the kernel a home whose registry takes seconds over the model's 300 kB."""
    with kernel_home(monkeypatch) as made:
        faults = made.path / "faults.json"
        faults.write_text(json.dumps({"bytes_s": 100_000}))
        monkeypatch.setenv(VARIABLE, str(faults))
        yield made


def test_a_card_is_sent_four_times_a_second_and_is_small(home: Home) -> None:
    """A browser far away, and the file of the notebook, can take it."""
    with new_kernel() as kernel:
        kernel.run("%load_ext spicy_avocado_magic")
        output = kernel.run("%avocado_up tiny --rehearse")
        down()
    assert output.status == "ok", output.text
    sent_s = [at_s for at_s, _ in output.displays]
    assert len(sent_s) > 2 * MOST_A_SECOND, f"the card has hardly moved: {sent_s}"
    for first, fifth in zip(sent_s, sent_s[MOST_A_SECOND:], strict=False):
        assert fifth - first >= 1.0, f"five displays in {fifth - first:.2f} s"
    largest = max(size for _, size in output.displays)
    assert largest <= LARGEST_BYTES, f"a display has {largest} bytes"
