"""Tests of the notebook room: lines, magics and what is displayed."""
