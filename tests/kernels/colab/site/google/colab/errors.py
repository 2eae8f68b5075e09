"""A stand-in for ``google.colab.errors``."""


class Error(Exception):
    """The base of Colab's errors; not all of them have it."""
