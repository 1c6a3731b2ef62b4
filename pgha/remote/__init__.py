"""Where a command runs: on this host, in a container over SSH, in the engine."""
