"""One module per tool: pure builders of commands and parsers of their answers. Nothing here does I/O."""
