"""Tests of engine/download/."""
