"""This machine: platform, paths, processes, secrets and their redaction, log files."""
