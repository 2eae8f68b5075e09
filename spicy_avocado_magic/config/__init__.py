"""What a user may ask for: options, validation, settings, limits, timeouts."""
