"""All that knows IPython: magics, their arguments and what is displayed."""
