"""The text behind a magic: parsed, completed, corrected."""
