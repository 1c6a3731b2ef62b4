"""The code blocks of a Markdown text."""

from markdown_it import MarkdownIt


def blocks(text):
    """The info string and the text of each fenced block; an indented block has none."""
    return [(t.info.strip(), t.content) for t in MarkdownIt().parse(text) if t.type in ("fence", "code_block")]
