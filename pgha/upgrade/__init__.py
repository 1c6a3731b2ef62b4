"""A major upgrade: gates, the stages, the way back."""
