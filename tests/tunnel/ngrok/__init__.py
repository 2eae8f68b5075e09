"""Tests of tunnel/ngrok/."""
