"""The line that ``%avocado_down`` prints."""

from __future__ import annotations

from spicy_avocado_magic.client.down import DownResult, PurgeResult
from spicy_avocado_magic.notebook.commands.down import down_text


def test_cleaning_up_after_a_crash_is_not_called_stopping() -> None:
    """The service had ended before."""
    result = DownResult(was_running=False, processes=("agent",))
    assert down_text(result) == "Cleaned up after a service that had crashed: agent."


def test_a_purge_says_what_was_deleted_and_how_much_space_is_free_now() -> None:
    """Also where there was nothing to delete."""
    purged = PurgeResult(releases=("0.34.1-cpu",), freed_bytes=2_100_000_000)
    text = down_text(DownResult(was_running=False, purged=purged))
    assert text.startswith("Removed 0.34.1-cpu. 2.1 GB freed"), text
    nothing = down_text(DownResult(was_running=False, purged=PurgeResult()))
    assert "nothing" in nothing
