"""Machines to test on: containers with an engine of their own and an sshd, on one host and without a registry."""
