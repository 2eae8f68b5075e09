"""GPUs and memory of this machine, and which models fit."""
