"""What is there, what is wrong with it, and how it is shown."""
