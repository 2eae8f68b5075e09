"""The whole path, from `up` to `down`, with real processes on loopback."""
