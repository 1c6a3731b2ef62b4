"""What this checkout keeps of a project: its record, its lock, keys, passwords and ports."""
