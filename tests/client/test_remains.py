"""What a killed host has left is told, and only that."""

from __future__ import annotations

from pathlib import Path

from spicy_avocado_magic.client.remains import find_remains
from spicy_avocado_magic.state_folder import StateFolder, hold_lock, write_private


def test_a_service_that_died_is_told_by_its_models(tmp_path: Path) -> None:
    """Its settings outlive it, and say what `up` will bring back."""
    folder = StateFolder(tmp_path)
    write_private(folder.wanted, '{"models": ["tiny", "other"]}')
    remains = find_remains(folder)
    assert remains is not None, "a dead service is not told"
    assert "tiny, other has died" in remains.text
    assert "%avocado_up" in remains.text
    assert folder.wanted.exists(), "telling it must not forget it"


def test_a_service_that_ended_as_it_should_is_none(tmp_path: Path) -> None:
    """No settings are left of it, or none that can be read."""
    folder = StateFolder(tmp_path)
    assert find_remains(folder) is None
    for text in ("{", "[]", "{}"):
        write_private(folder.wanted, text)
        assert find_remains(folder) is None, f"{text} is taken for a service"


def test_a_service_that_is_being_started_is_none(tmp_path: Path) -> None:
    """Whoever holds the lock lives."""
    folder = StateFolder(tmp_path)
    write_private(folder.wanted, '{"models": ["tiny"]}')
    with hold_lock(folder.lock) as is_ours:
        assert is_ours
        assert find_remains(folder) is None, "a living service is told as dead"
