"""The one background process: supervisor, control socket and guard."""
