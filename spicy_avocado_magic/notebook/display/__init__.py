"""The output of the magics: cards in a notebook, text in a terminal."""
