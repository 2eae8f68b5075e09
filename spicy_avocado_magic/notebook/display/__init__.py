"""The card: one display of a notebook, drawn in place, and its twins in plain text."""
