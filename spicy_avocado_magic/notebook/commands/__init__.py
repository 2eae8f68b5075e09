"""One module for each magic that does more than call the client."""
