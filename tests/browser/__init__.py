"""The notebooks in JupyterLab, in a real browser: what a person sees and presses."""
