"""What the processes say to one another and leave on disk."""
