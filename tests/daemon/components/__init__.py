"""Tests of daemon/components/."""
