"""Tests of rehearsal/fake_ollama/."""
