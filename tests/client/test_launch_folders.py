"""The state folders that a command looks at."""

from __future__ import annotations

from pathlib import Path

import pytest

from spicy_avocado_magic.client.launch import candidate_state_folders


def test_a_requested_rehearsal_is_the_only_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By argument or by the environment; the real service is not touched."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("AVOCADO_REHEARSE", raising=False)
    real, rehearsal = candidate_state_folders(rehearse=False)
    assert (real.path.name, rehearsal.path.name) == ("host", "rehearsal")
    assert candidate_state_folders(rehearse=True) == (rehearsal,)
    monkeypatch.setenv("AVOCADO_REHEARSE", "1")
    assert candidate_state_folders(rehearse=False) == (rehearsal,)
