"""Tests of rehearsal/fake_ngrok/."""
