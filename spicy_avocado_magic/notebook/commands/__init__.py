"""The commands behind the magics: one module each, with ``run(call)``."""
