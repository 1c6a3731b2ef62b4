"""What an operator types and reads: Invoke's executor, task modules, reports."""
