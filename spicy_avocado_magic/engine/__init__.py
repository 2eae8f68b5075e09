"""The Ollama server: installed, started, filled with models."""
