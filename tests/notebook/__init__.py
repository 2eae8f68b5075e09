"""Tests of the notebook package: lines, magics and displays."""
