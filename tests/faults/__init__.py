"""The fault matrix: what breaks a running service, and what must hold all the same."""
