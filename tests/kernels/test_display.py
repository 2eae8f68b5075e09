"""The rate of a card's messages while its state changes all the time."""

from __future__ import annotations

from typing import Final

from .cells import good
from .kernel import new_kernel

MOST_A_SECOND: Final = 4
RESTLESS: Final = """
import time
from spicy_avocado_magic.notebook.display.card import CardView
from spicy_avocado_magic.protocol.state import STAGES, Phase, Progress, Stage, State

stages = [Stage(name=name, component=part) for name, part in STAGES]
with CardView() as view:
    end = time.monotonic() + 3
    while (left := end - time.monotonic()) > 0:
        amount = Progress(done_bytes=int(9e9 - left * 1e9), total_bytes=9 * 10**9)
        pull = Stage(name="pull", component="models", phase=Phase.STARTING,
                     progress=amount)
        view.show(State(stages=(stages[0], pull, *stages[2:])))
        time.sleep(0.01)
"""


def test_a_card_is_sent_at_most_four_times_a_second() -> None:
    """With a hundred states a second, so that a browser can keep up."""
    with new_kernel() as kernel:
        output = kernel.run(RESTLESS)
    good(output)
    sent_s = output.sent_s
    assert len(sent_s) > 2 * MOST_A_SECOND, f"the card was hardly redrawn: {sent_s}"
    for first, fifth in zip(sent_s, sent_s[MOST_A_SECOND:], strict=False):
        assert fifth - first > 1.0, f"five displays in {fifth - first:.2f} s"
