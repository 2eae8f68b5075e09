"""A stand-in of the ngrok agent, service and edge."""
