"""Tests of the tunnel: agent, codes and probe."""
