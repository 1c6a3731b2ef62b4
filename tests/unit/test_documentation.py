"""The documentation: every `inv` line names a task and flags that exist, and links lead somewhere."""

import ast
import importlib.util
import re
import shlex

import pytest
from invoke import Program
from invoke.parser import ParseError, Parser
from markdown_blocks import blocks
from markdown_it import MarkdownIt

import tasks
from pgha import ROOT
from pgha.cli.line import understand
from pgha.status.kinds import Kind

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
    program = Program()
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


def test_what_is_made_of_the_code_is_as_the_code_has_it():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    pages = {page: page.read_text() for page in (ROOT / "docs").rglob("*.md")}
    assert sum(text.count("<!-- end -->") for text in pages.values()) == len(generate.PARTS)
    assert [str(page) for page, text in pages.items() if generate.rewritten(text) != text] == [], "docs/generate.py"


WRITERS = [
    *sorted((ROOT / "pgha" / "cli").glob("*.py")),
    *(ROOT / "pgha" / name for name in ("status/document.py", "model/plan.py", "recover/account.py")),
]


def keys_of_documents(path):
    """The keys of every dictionary that a function makes for `--json`."""
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.FunctionDef):
            continue
        calls = [n for n in ast.walk(function) if isinstance(n, ast.Call) and "print_json" in ast.dump(n.func)]
        for place in [function] if "document" in function.name else calls:
            for made in ast.walk(place):
                if isinstance(made, ast.Dict):
                    yield from (key.value for key in made.keys if isinstance(key, ast.Constant))


def test_every_json_document_is_described():
    text = (ROOT / "docs" / "interface.md").read_text()
    described = set(re.findall(r"`([a-z_]+)`|\"([a-z_]+)\":", text))
    described = {one or other for one, other in described}
    keys = {key for path in WRITERS for key in keys_of_documents(path)}
    assert len(keys) > 80
    assert keys - described == set()


def test_every_task_that_prints_json_has_its_line():
    text = (ROOT / "docs" / "interface.md").read_text()
    printing = {
        name for name in tasks.namespace.task_names if "json" in {a.name for a in tasks.namespace[name].get_arguments()}
    }
    named = set(re.findall(r"`inv ([a-z.-]+)[^`]* --json`", text))
    assert {name.removesuffix(".run") for name in printing} == named


def test_every_kind_of_problem_has_its_line_with_a_cause_and_what_to_do():
    text = (ROOT / "docs" / "troubleshooting.md").read_text().partition("## What status says")[2]
    rows = [re.fullmatch(r"\| `(\w+)` \| (.+) \| (.+) \|", line) for line in text.splitlines()]
    assert sorted(row[1] for row in rows if row) == sorted(Kind)


def test_the_readme_is_short_and_has_every_task():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    quick = text.partition("## Quick reference")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z.-]+)[^`]*`", quick))
    assert {(*aliases, name)[0] for name, aliases in tasks.namespace.task_names.items()} - named == set()


def test_what_the_tour_types_can_be_recorded_again():
    text = (ROOT / "docs" / "tour.md").read_text()
    blocks_of_tour = [content for info, content in blocks(text) if info == "console"]
    assert len(blocks_of_tour) == text.count("```console") > 20
    assert all(block.startswith("$ inv ") for block in blocks_of_tour)
