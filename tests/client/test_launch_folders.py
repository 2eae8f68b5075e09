"""Which hosts a verb is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from spicy_avocado_magic.client.launch import candidate_state_folders


def test_a_rehearsal_alone_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the call or by the environment; a real host is never touched then."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("AVOCADO_REHEARSE", raising=False)
    real, rehearsal = candidate_state_folders(rehearse=False)
    assert (real.path.name, rehearsal.path.name) == ("host", "rehearsal")
    assert candidate_state_folders(rehearse=True) == (rehearsal,)
    monkeypatch.setenv("AVOCADO_REHEARSE", "1")
    assert candidate_state_folders(rehearse=False) == (rehearsal,)
