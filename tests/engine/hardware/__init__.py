"""Tests of engine/hardware/."""
