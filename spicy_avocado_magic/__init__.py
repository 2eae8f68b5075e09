"""One notebook cell to a public, authenticated URL for your own Ollama model."""

from __future__ import annotations

__version__ = "0.1.0"
