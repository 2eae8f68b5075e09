"""Whether the user of a session can be prompted."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from spicy_avocado_magic.notebook.session import is_interactive, token_prompt

ATTENDED = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True))


def test_a_thread_cannot_prompt() -> None:
    """The answer would go to whichever cell is running."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(token_prompt(ATTENDED)))
    thread.start()
    thread.join()
    assert found == [None], "a thread may prompt"
    assert token_prompt(ATTENDED) is not None, "the main thread may not prompt"


def test_nbclient_is_not_interactive() -> None:
    """It answers no prompt, and nobody sees the card."""
    alone = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False))
    assert is_interactive(ATTENDED)
    assert not is_interactive(alone)
    assert token_prompt(alone) is None
