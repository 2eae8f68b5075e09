"""Fixtures that every folder of tests may use."""

from __future__ import annotations

from .real_engines import real_ollama

__all__ = ["real_ollama"]
