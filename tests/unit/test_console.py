import io
import json

import pytest

from pgha import console
from pgha.errors import BadValue


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("answer", ["y\n", "Y\n", " yes \n"])
def test_a_yes_goes_on(monkeypatch, answer):
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    console.confirm("Destroy?", yes=False)


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "no\n", "yep\n", "destroy\n"])
def test_anything_else_refuses(monkeypatch, answer):
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    with pytest.raises(BadValue, match="nothing was changed"):
        console.confirm("Destroy?", yes=False)


@pytest.mark.parametrize("stdin", [io.StringIO("y\n"), None], ids=["no-terminal", "closed"])
def test_without_a_terminal_nobody_is_asked(monkeypatch, stdin):
    monkeypatch.setattr("sys.stdin", stdin)
    with pytest.raises(BadValue) as caught:
        console.confirm("Destroy?", yes=False)
    assert caught.value.hint == "add --yes"
    console.confirm("Destroy?", yes=True)


def test_questions_go_to_stderr(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    console.confirm("Destroy?", yes=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Destroy? [y/N]" in captured.err


def test_progress_goes_to_stderr(capsys):
    progress = console.Progress()
    with progress.stage("pull [bold]x[/bold]"):
        progress.detail("a line")
    progress.note("done [y/N]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "pull [bold]x[/bold]: done in" in captured.err
    assert "done [y/N]" in captured.err


def test_a_table_shows_text_as_it_is_and_never_cuts_a_word(capsys):
    long, prose = "x" * 110, " ".join(["word"] * 40)
    console.show(console.table("", ("A", "B"), [("[red]a[/red]", long), (None, 0)]))
    out = capsys.readouterr().out
    assert "[red]a[/red]" in out
    assert long in out
    console.show(console.table("", ("A", "B"), [("a", prose)]))
    folded = capsys.readouterr().out.splitlines()
    assert max(map(len, folded)) <= 120 and sum(line.count("word") for line in folded) == 40


@pytest.mark.parametrize("tell", [console.print_text, lambda text: console.print_json({text: 1}), console.show])
def test_what_stderr_says_comes_after_the_result_also_in_a_pipe(monkeypatch, tell):
    """Python keeps what goes to a pipe until there is much of it."""
    pipe = io.TextIOWrapper(io.BytesIO(), write_through=False)
    monkeypatch.setattr("sys.stdout", pipe)
    monkeypatch.setattr("sys.stderr", pipe)
    tell("the result")
    written = pipe.buffer.getvalue().decode()
    assert "the result" in written


@pytest.fixture
def second():
    console.speak_of("INVOKE_PGHA_PROJECT=second inv")
    yield
    console.speak_of("inv")


def test_commands_lead_to_the_project_they_speak_of(second, capsys):
    console.error("No leader", "inv status, or `inv up`; see invoke.yaml and inv")
    console.show('connect with: psql "$(inv dsn)"')
    console.Progress().note("until the next: inv up")
    captured = capsys.readouterr()
    assert captured.out == 'connect with: psql "$(INVOKE_PGHA_PROJECT=second inv dsn)"\n'
    hint, note = captured.err.splitlines()[1:]
    one = "INVOKE_PGHA_PROJECT=second inv"
    assert hint == f"HINT: {one} status, or `{one} up`; see invoke.yaml and inv"
    assert note == f"until the next: {one} up"


def test_json_is_one_document(capsys):
    console.print_json({"a": ["ü", None]})
    assert json.loads(capsys.readouterr().out) == {"a": ["ü", None]}
