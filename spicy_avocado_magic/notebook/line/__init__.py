"""The line of a magic: its table of commands, parser and completion."""
