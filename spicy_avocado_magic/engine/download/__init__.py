"""Parallel, resumable, verified downloads."""
