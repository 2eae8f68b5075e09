"""Tests of notebook/commands/."""
