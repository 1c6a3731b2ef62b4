"""Break things by their mechanism, remember what is broken, and heal it."""
