"""Drills: break one thing under load, measure what clients see, and compare it with what was promised."""
