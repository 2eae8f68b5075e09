"""A stand-in for ``google.colab``, as far as we touch it."""
