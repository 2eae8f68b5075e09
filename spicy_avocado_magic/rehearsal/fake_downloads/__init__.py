"""Stand-ins of the release server and the model registry."""
