"""The magics in real kernels, by jupyter_client; nox runs this on three IPythons."""
