"""What the tests and CI need built or measured; run as modules."""
