"""What is preloaded into a service, to stand in for tricks of its machine."""

from __future__ import annotations

from pathlib import Path


def preloaded(**variables: str) -> dict[str, str]:
    """Return variables of a row that preload ``preloaded/sitecustomize.py``."""
    folder = Path(__file__).parent / "preloaded"
    return {"PYTHONPATH": str(folder), **variables}
