"""Tests of engine/install/."""
