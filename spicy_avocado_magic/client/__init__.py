"""The Python API: ``up``, ``status``, ``down``, ``logs``, ``doctor`` and the handle."""
