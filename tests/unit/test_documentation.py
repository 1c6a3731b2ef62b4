"""The documentation: every `inv` line names a task and flags that exist, and links lead somewhere."""

import re
import shlex

import pytest
from invoke import Collection, Program
from invoke.parser import ParseError, Parser
from markdown_blocks import blocks
from markdown_it import MarkdownIt

import tasks
from pgha import ROOT
from pgha.cli.line import understand

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def lines(page):
    """What stands in a block, without what is printed there, or between backticks."""
    text = page.read_text()
    for _, content in blocks(text):
        prompted = [line[2:] for line in content.splitlines() if line.startswith("$ ")]
        yield from prompted or content.splitlines()
    for block in MarkdownIt().parse(text):
        for part in block.children or ():
            if part.type == "code_inline":
                yield part.content


def words_of(line):
    """The words of each `inv` in a line of the shell."""
    for inner in re.findall(r"\$\((inv [^)]*)\)", line):
        yield shlex.split(inner)[1:]
    lexer = shlex.shlex(re.sub(r"\$\([^)]*\)", "", line), posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    command = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";&|<>"):
            program = [w for w in command if not re.match(r"[A-Z_]+=", w)]
            if program[:1] == ["inv"]:
                yield program[2:] if program[1:2] == ["--help"] else program[1:]
            command = []
        else:
            command.append(word)


def commands(page):
    """The words after each `inv`; `inv chaos.*` and `inv ...` are no commands."""
    for line in lines(page):
        if re.search(r"\binv\b", line) and not re.search(r"inv \.\.\.|\.\*", line):
            yield from words_of(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_in_the_documentation_can_be_typed(page):
    program = Program(namespace=Collection.from_module(tasks))
    for words in commands(page):
        parser = Parser(contexts=tasks.namespace.to_contexts(), initial=program.initial_context)
        try:
            parser.parse_argv(understand(words, parser.contexts, program.initial_context).words)
        except ParseError as error:
            # Between backticks a flag is also named without its value.
            if "needed value" not in str(error):
                pytest.fail(f"inv {shlex.join(words)}: {error}")


def test_the_pages_have_commands():
    assert sum(len(list(commands(page))) for page in PAGES) > 200


def anchors(page):
    """What a link can name in a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text()):
            there = page.parent / target if target else page
            assert there.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(there), f"{page.name}: {target}#{anchor}"
