"""The Ollama release: found, downloaded, unpacked."""
