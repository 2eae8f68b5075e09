"""Tests of the examination: every fault is made for real where that can be."""
