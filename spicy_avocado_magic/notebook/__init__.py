"""The IPython extension: magics, and everything else that knows IPython."""
