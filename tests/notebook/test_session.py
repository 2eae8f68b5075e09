"""The session around a magic: whether somebody can be asked."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from spicy_avocado_magic.notebook.session import is_interactive, token_prompt

ATTENDED = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True))


def test_a_thread_asks_nobody() -> None:
    """The answer would go to whatever cell runs."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(token_prompt(ATTENDED)))
    thread.start()
    thread.join()
    assert found == [None], "a thread may ask"
    assert token_prompt(ATTENDED) is not None, "the foreground may not ask"


def test_nbclient_is_no_person() -> None:
    """It takes no questions, and shows no card to anybody."""
    alone = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False))
    assert is_interactive(ATTENDED)
    assert not is_interactive(alone)
    assert token_prompt(alone) is None
