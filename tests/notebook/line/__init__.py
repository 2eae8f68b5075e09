"""Tests of notebook/line/."""
