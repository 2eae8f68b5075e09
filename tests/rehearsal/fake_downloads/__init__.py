"""Tests of rehearsal/fake_downloads/."""
