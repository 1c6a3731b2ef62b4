"""Sites that are gone for good: what is left, what may be lost, and the cluster made again from that."""
