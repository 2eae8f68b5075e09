"""ngrok, by pyngrok, as a tunnel provider."""
