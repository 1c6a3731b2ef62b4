"""Watching a cluster: look again and again at the cost of one SSH round, tell what changed, show it."""
