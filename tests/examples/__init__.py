"""The examples as a user gets them."""
