"""Files that are written atomically, checked when read, and locked while they are written."""
