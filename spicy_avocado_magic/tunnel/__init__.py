"""Tunnel providers, and the probe that a public URL leads to this gateway."""
