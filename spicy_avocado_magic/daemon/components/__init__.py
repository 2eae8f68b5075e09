"""The parts of the service that are kept running."""
