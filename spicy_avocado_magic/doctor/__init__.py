"""Everything that can be wrong with a machine or a service, each with its remedy."""
