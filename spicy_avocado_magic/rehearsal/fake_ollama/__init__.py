"""A stand-in of the Ollama program and its HTTP API."""
