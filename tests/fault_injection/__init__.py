"""Stand-ins that can be made to fail while they run."""
