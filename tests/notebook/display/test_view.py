"""Which view a session has, and the plain lines of magics."""

from __future__ import annotations

import subprocess
import sys

from spicy_avocado_magic.client.down import DownResult, PurgeResult
from spicy_avocado_magic.notebook.display.card import CardView
from spicy_avocado_magic.notebook.display.terminal import TerminalView
from spicy_avocado_magic.notebook.display.view import ended_text, view_for

from ..conftest import Session


def test_a_notebook_has_a_card_and_a_terminal_has_lines(bare: Session) -> None:
    """Only a frontend can draw a display."""
    assert isinstance(view_for(bare.shell), TerminalView)
    bare.pretend_to_be_a_kernel()
    assert isinstance(view_for(bare.shell), CardView)


def test_what_a_dead_service_left_is_told_as_such() -> None:
    """Sweeping is not the same as ending."""
    swept = DownResult(was_running=False, processes=("agent",))
    purged = PurgeResult(releases=("0.34.1-cpu",), freed_bytes=2_100_000_000)
    text = ended_text(DownResult(was_running=False, purged=purged))
    assert text.startswith("Removed 0.34.1-cpu. 2.1 GB freed"), text
    none = ended_text(DownResult(was_running=False, purged=PurgeResult()))
    assert "nothing" in none
    assert ended_text(swept) == "Cleared what a dead service had left: agent."


def test_loading_the_extension_reads_no_card() -> None:
    """It is to be instant, and most cells never draw one."""
    code = (
        "import sys, spicy_avocado_magic.notebook.extension\n"
        "print(*(name for name in sys.modules if '.display.' in name))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    ours = [name for name in ran.stdout.split() if name.startswith("spicy_avocado")]
    assert ours == ["spicy_avocado_magic.notebook.display.view"], f"imported: {ours}"
