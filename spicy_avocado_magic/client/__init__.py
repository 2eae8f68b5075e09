"""Find, launch and talk to the host: ``up``, ``status``, ``down``, ``follow``."""
