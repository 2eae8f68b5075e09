"""A host that is killed while it downloads, and what the next one fetches again."""

from __future__ import annotations

import os
import signal
from collections import Counter

from spicy_avocado_magic.engine.download.window import WINDOW_BYTES
from tests.machine_speed import scaled

from .counting_world import HELD_AT, SIZE, CountingWorld
from .home import Home


def test_a_killed_host_fetches_at_most_a_window_twice(
    home: Home, counting: CountingWorld
) -> None:
    """Archive and blob go on where they were, by the count of who sent them."""
    avocado = home.up("tiny", sources=counting.sources, local=True, background=True)
    assert counting.is_held.wait(scaled(60)), f"not under way: {counting.sent}"
    state = avocado.status()
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    assert not home.wait_no_processes(), "something outlived the host"
    before = Counter(counting.sent)
    counting.release()
    again = home.up("tiny", sources=counting.sources, local=True)
    assert again.outcome == "launched"
    for name, sent in counting.sent.items():
        if before[name] < HELD_AT:
            continue
        assert sent >= SIZE, f"{name} was not counted whole"
        again_bytes = sent - SIZE
        assert again_bytes <= WINDOW_BYTES + (1 << 20), f"{name}: {again_bytes} twice"
        assert sent - before[name] < SIZE, f"{name} began from its first byte"
    parts = [*home.path.rglob("*.part"), *home.path.rglob(".unpacking-*")]
    assert not parts, f"left: {parts}"
