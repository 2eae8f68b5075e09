"""The gateway, from its rules to stock clients."""
