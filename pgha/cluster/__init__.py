"""The Patroni cluster: read it, put a member in charge, change its configuration, connect to it."""
