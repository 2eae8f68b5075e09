"""A small world on loopback in which the product runs unchanged."""
