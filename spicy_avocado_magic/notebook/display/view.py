"""How an ``up`` shows what it does, and what magics say in plain lines."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from ...client.state_text import REHEARSAL_MARK
from ...formatting import format_bytes, format_duration
from ...protocol.state import State
from ..session import is_interactive, is_notebook

if TYPE_CHECKING:
    from ...client.down import DownResult
    from .render import SnippetLike
    from .throttle import RedrawThrottle


class View(Protocol):
    """Shows states while they come; leaving it shows the last one."""

    def show(self, state: State) -> None:
        """Show where things are."""

    def show_ready(
        self,
        state: State,
        headline: str,
        *,
        show_key: bool,
        show_token: bool = False,
        snippets: Sequence[SnippetLike] = (),
    ) -> None:
        """Show URL, key and how to use them."""

    def show_accepted(
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


def view_for(shell: Any, pace: RedrawThrottle | None = None) -> View:
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
    return CardView(pace=pace, is_attended=is_interactive(shell))


def print_line(text: str, *, rehearsal: bool = False) -> None:
    """Print a plain line, marked if it is of a rehearsal."""
    print(f"{REHEARSAL_MARK}\n{text}" if rehearsal else text)  # noqa: T201


def ended_text(ended: DownResult) -> str:
    """Return in a line what was ended, and that nothing is left."""
    if ended.purged is not None:
        names = ", ".join(ended.purged.releases) or "nothing: no Ollama was installed"
        freed = format_bytes(ended.purged.freed_bytes)
        return f"Removed {names}. {freed} freed; your models are untouched."
    if not ended.was_running:
        return f"Cleared what a dead service had left: {', '.join(ended.processes)}."
    return (
        f"Ended in {format_duration(ended.seconds)}: {', '.join(ended.processes)}. "
        "Nothing is left: no process, no open port, no file with a secret."
    )
