"""One notebook cell to a public, authenticated URL for your own Ollama model."""
