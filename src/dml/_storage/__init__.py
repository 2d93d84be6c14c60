"""Files that are written whole, checked when read, and locked while written."""
