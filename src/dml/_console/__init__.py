"""The terminal, progress and memory of a command."""
