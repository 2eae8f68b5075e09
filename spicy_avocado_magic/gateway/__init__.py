"""The authenticating proxy, the only port that is exposed."""
