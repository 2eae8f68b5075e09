"""How an ``up`` shows what it does, and what magics say in plain lines."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from ...client.state_text import REHEARSAL_MARK
from ...formatting import bytes_text, seconds_text
from ...protocol.state import State
from ..session import is_attended, is_notebook

if TYPE_CHECKING:
    from ...client.down import Ended
    from .render import Snippet
    from .throttle import Pace


class View(Protocol):
    """Shows states while they come; leaving it shows the last one."""

    def show(self, state: State) -> None:
        """Show where things are."""

    def hand_over(
        self,
        state: State,
        headline: str,
        *,
        show_key: bool,
        show_token: bool = False,
        snippets: Sequence[Snippet] = (),
    ) -> None:
        """Show URL, key and how to use them."""

    def accept(
        self,
        state: State,
        headline: str,
        *,
        show_key: bool,
        show_token: bool = False,
    ) -> None:
        """Show what goes on without this cell."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def view_for(shell: Any, pace: Pace | None = None) -> View:
    """Return a card in a notebook, and lines in a terminal.

    Args:
        shell: The session.
        pace: How often a card may be redrawn.
    """
    # Not needed to load the extension, which should be instant.
    from .card import CardView
    from .terminal import TerminalView

    if not is_notebook(shell):
        return TerminalView()
    return CardView(pace=pace, is_attended=is_attended(shell))


def say(text: str, *, rehearsal: bool = False) -> None:
    """Print a plain line, marked if it is of a rehearsal."""
    print(f"{REHEARSAL_MARK}\n{text}" if rehearsal else text)  # noqa: T201


def ended_text(ended: Ended) -> str:
    """Return in a line what was ended, and that nothing is left."""
    if ended.purged is not None:
        names = ", ".join(ended.purged.releases) or "nothing: no Ollama was installed"
        freed = bytes_text(ended.purged.freed_bytes)
        return f"Removed {names}. {freed} freed; your models are untouched."
    if not ended.was_running:
        return f"Cleared what a dead service had left: {', '.join(ended.processes)}."
    return (
        f"Ended in {seconds_text(ended.seconds)}: {', '.join(ended.processes)}. "
        "Nothing is left: no process, no open port, no file with a secret."
    )
