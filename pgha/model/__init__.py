"""What a project is, computed from its settings without looking at anything."""
