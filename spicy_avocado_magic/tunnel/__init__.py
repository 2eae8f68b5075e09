"""The ngrok endpoint, by pyngrok, and the proof that it leads to us."""
