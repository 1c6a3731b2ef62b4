"""The real `inv` in a copy of the checkout, on a host without an engine: exit codes, `ERROR:` and `HINT:`."""

import fcntl
import importlib.util
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache, partial

import pytest
import yaml
from forks import Forks
from invoke import Collection
from invoke.parser import Parser
from psycopg.conninfo import conninfo_to_dict

from pgha import ROOT
from pgha.cli.changing import AFTER_INTERRUPT, telling_interrupts
from pgha.errors import Interrupted, NotReady
from pgha.project.project import open_project
from pgha.project.running import note_running

FORKS = cache(Forks)

BASH = shutil.which("bash") or "bash"
"""With its path: some tests leave PATH empty."""


KEPT = ("pgha", "templates", "images")
"""What no test changes."""


def copy_checkout(folder):
    folder.mkdir()
    for name in KEPT:
        shutil.copytree(ROOT / name, folder / name)
    return as_copied(folder)


def as_copied(folder):
    """What tests and commands left in it is gone."""
    for path in folder.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in ("tasks.py", "invoke.yaml"):
        shutil.copy(ROOT / name, folder)
    return folder


def run_inv(checkout, *arguments, folder=".", limit="", **settings):
    """Run `inv`; nobody sits at its terminal, and it may fail but never with a traceback."""
    environment = {
        **os.environ,
        "DOCKER_HOST": "unix:///nonexistent/docker.sock",
        "HOME": str(checkout.parent),
        "PYTHONPATH": str(checkout),
        **{f"INVOKE_PGHA_{key.upper()}": value for key, value in settings.items()},
    }
    if limit:
        line = shlex.join([sys.executable, "-m", "invoke", *arguments])
        answer = subprocess.run(
            [BASH, "-c", f"{limit}; exec {line}"],
            cwd=checkout / folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    else:
        answer = FORKS(checkout).run(arguments, checkout / folder, environment, 300)
    assert "Traceback" not in answer.stderr
    return answer


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The checkout of all tests here: the process that forks has loaded what is in it."""
    return copy_checkout(tmp_path_factory.mktemp("copied") / "checkout")


@pytest.fixture
def checkout(copied):
    return as_copied(copied)


@pytest.fixture
def inv(checkout):
    return partial(run_inv, checkout)


@pytest.fixture(scope="module")
def rendered_once(tmp_path_factory):
    made = copy_checkout(tmp_path_factory.mktemp("once") / "checkout")
    assert run_inv(made, "render").returncode == 0
    return made


@pytest.fixture
def rendered(checkout, rendered_once):
    """What `inv render` leaves, also where it is read from: absolute paths in it are those of this checkout."""
    for name in ("build", "ssh"):
        shutil.copytree(rendered_once / name, checkout / name)
    ssh_config = checkout / "build" / "pgha" / "ssh_config"
    ssh_config.write_text(ssh_config.read_text().replace(str(rendered_once), str(checkout)))


def files_of(folder):
    """All but what Python keeps of its own: who compiles a module first depends on the order of the tests."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path: path.read_bytes() for path in files}


def assert_refused(answer, code, *words, hint=""):
    assert (answer.returncode, answer.stdout) == (code, "")
    error, _, rest = answer.stderr.partition("HINT: ")
    assert error.startswith("ERROR: ")
    for word in words:
        assert word in error
    assert rest.strip()
    assert hint in rest


def test_the_copy_is_what_runs(checkout):
    code = "import pgha; print(pgha.ROOT)"
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, cwd="/", capture_output=True, text=True)
    assert shown.stdout.strip() == str(checkout)


# What is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "settings", "words"),
    [
        ("render -d 0", {}, "data_centers: 0 is not 1 or more"),
        ("render -d 5 -p 2", {}, "10 Postgres nodes; 9 is the most"),
        ("render -n Bad_Name", {}, "prefix: 'Bad_Name'"),
        ("render -v 12", {}, "postgres: 12 is not a supported major"),
        ("render -d abc", {}, "data_centers: 'abc' is not a whole number"),
        ("render", {"nodes": "abc"}, "nodes: 'abc' is not a whole number"),
        ("render", {"nodes": ""}, "nodes: '' is not a whole number"),
        ("render", {"pgbackrest": "maybe"}, "pgbackrest: 'maybe' is neither on nor off"),
        ("render", {"nosuch": "1"}, "nosuch: there is no such setting"),
        ("status", {"project": "Bad/Name"}, "project: 'Bad/Name'"),
    ],
)
def test_a_wrong_setting_is_refused_and_changes_nothing(checkout, inv, line, settings, words):
    assert_refused(inv(*line.split(), **settings), 2, "1 setting is wrong", words, hint="invoke.yaml")
    assert not (checkout / "build" / "pgha").exists()
    assert not (checkout / "ssh").exists()


def test_all_wrong_settings_are_shown_at_once(inv):
    answer = inv("render", "-d", "0", "-n", "Bad_Name", "-v", "12", durability="never", ttl="5", nosuch="1")
    keys = ("data_centers", "prefix", "postgres", "durability", "ttl", "nosuch")
    assert_refused(answer, 2, *(f"\n  {key}: " for key in keys))


@pytest.mark.parametrize("text", ["pgha: 3\n", "pgha:\n  nodes: [2]\n", "pgha:\n  durability: no\n"])
def test_an_odd_invoke_yaml_is_refused(checkout, inv, text):
    head = (checkout / "invoke.yaml").read_text().partition("pgha:\n")[0]
    (checkout / "invoke.yaml").write_text(head + text)
    assert_refused(inv("render"), 2, "1 setting is wrong")


def table(checkout, text):
    """The text of our table in an invoke.yaml."""
    return (checkout / "invoke.yaml").read_text().partition("pgha:\n")[0] + f"pgha:\n  {text}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nodes: 010", "nodes: '010' is not"),
        ("nodes: 0o2", "nodes: '0o2' is not"),
        ("ttl: 12:30", "ttl: '12:30' is not"),
        ("up_timeout: 2026-11-25", "up_timeout: '2026-11-25' is not"),
        ("durability: no", "durability: 'no' is neither"),
        ("postgres_port: 50_551", "postgres_port: '50_551' is not"),
        ("nodes: 1\n  nodes: 2", "invoke.yaml: is not YAML: nodes is given twice"),
    ],
)
@pytest.mark.parametrize("file", ["invoke.yaml", "my.yaml"])
def test_what_yaml_would_have_changed_is_refused_as_it_was_typed(checkout, inv, file, text, words):
    (checkout / file).write_text(table(checkout, text))
    line = ("render",) if file == "invoke.yaml" else ("-f", file, "render")
    assert_refused(inv(*line), 2, "1 setting is wrong", words.replace("invoke.yaml", file))


def test_a_secret_is_the_text_that_was_typed(checkout, inv):
    """YAML makes of these 83, true, a date and nothing that can be written."""
    typed = {"superuser": "0123", "replication": "yes", "rewind": "2026-11-25", "restapi": "1_0"}
    text = "\n  ".join(f"{name}_password: {value}" for name, value in typed.items())
    (checkout / "invoke.yaml").write_text(table(checkout, text))
    assert inv("render").returncode == 0
    kept = yaml.safe_load((checkout / "build" / "pgha" / "passwords.yaml").read_text())
    assert {name: kept[name] for name in typed} == typed


def test_a_file_named_on_the_line_is_over_invoke_yaml(checkout, inv):
    (checkout / "invoke.yaml").write_text(table(checkout, "prefix: one\n  nodes: 1"))
    (checkout / "my.yaml").write_text("pgha: {prefix: other}\n")
    assert "other3-node1" in inv("-f", "my.yaml", "render").stdout
    assert "one3-node1" in inv("render").stdout


def test_another_password_is_not_written_where_no_engine_can_tell_of_data(checkout, inv, rendered):
    file = checkout / "build" / "pgha" / "passwords.yaml"
    before = file.read_bytes()
    assert_refused(inv("render", repository_passphrase="another"), 3, "repository_passphrase would replace")
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("line", "words", "hint"),
    [
        ("failover", "needs a candidate", "inv failover --candidate"),
        ("failover --candidate pg9-node9", "pg9-node9 is not a Postgres node", "pg1-node1"),
        ("switchover --candidate etcd1", "etcd1 is not a Postgres node", "pg1-node1"),
        ("ssh", "A host has to be named", "pg1-node1"),
        ("ssh --node pg9-node9", "pg9-node9 is not a host of project pgha", "pg1-node1"),
        ("ssh --node etcd1", "etcd1 is not a host", "pgbackrest"),
        ("logs --node pg9-node9", "pg9-node9 is not a host of project pgha", "etcd1"),
        ("backup --type sql", "sql is not a backup type", "full, diff, incr"),
        ("destroy", "Destroy project pgha", "--yes"),
        ("destroy --keep-repository", "with all its data, but not its backups", "--yes"),
        ("keys --rotate", "Replace every SSH key and certificate of project pgha", "--yes"),
        ("restore-point", "A restore point needs a name", "inv restore-point --name"),
        ("chaos.partition --node pg1-node1 --dc dc1", "--node takes no site", "inv chaos.partition --node pg1-node1"),
        ("reinit", "A replica has to be named", "pg1-node1"),
        ("reinit --node etcd1", "etcd1 is not a Postgres node", "pg1-node1"),
        ("reinit --node pg1-node1 --from there", "there is not a source", "inv reinit --node pg1-node1"),
        ("config --set work_mem=8MB", "knows no work_mem", "postgresql.parameters.work_mem"),
        ("config --set ttl=30 --yes", "ttl is set by the setting ttl", "inv up"),
        ("config --unset postgresql", "postgresql is a table", "<name>"),
        ("recover", "What has to be recovered from is not said", "inv recover --site-lost"),
        ("database --owner app", "--owner needs a database", "inv database --name"),
        ("database --name My-App", "'My-App' is not the name of a database", "inv database --name my_app"),
        ("database --name app --owner postgres", "postgres cannot own", "--owner app_owner"),
        ("chaos.partition --node etcd1", "etcd1 runs no Postgres", "pg1-node1"),
    ],
)
def test_a_wrong_value_is_refused(inv, line, words, hint):
    assert_refused(inv(*line.split()), 2, words, hint=hint)


@pytest.mark.parametrize("line", ["logs --tail abc", "report --tail abc", "clone --port abc"])
def test_a_number_that_is_none_is_refused(inv, line):
    assert_refused(inv(*line.split()), 2, "abc")


@pytest.mark.parametrize("line", ["info", "stanza", "backup", "verify", "schedule", "restore-point --name it"])
def test_backups_need_a_repository(inv, line):
    assert_refused(inv(*line.split(), pgbackrest="false"), 2, "without pgBackRest", hint="pgbackrest: on")


@pytest.mark.parametrize(
    "verb",
    ["up", "build", "status", "start", "stop", "down", "logs", "destroy --yes", "restore --yes", "clone",
     "clone --remove", "schedule", "stop --node pg1-node1", "start --dc dc1", "replace --etcd etcd1 --yes",
     "recover --site-lost"],
)  # fmt: skip
def test_without_an_engine_the_way_to_get_one_is_named(checkout, inv, verb, rendered):
    before = files_of(checkout)
    assert_refused(inv(*verb.split()), 3, "container engine is not running", hint="inv setup")
    assert files_of(checkout).keys() == before.keys()


@pytest.mark.parametrize("line", ["up", "render -d 3 -p 1", "replace --node pg1-node1 --yes", "verify"])
def test_while_a_scale_is_half_done_its_way_on_is_named(checkout, inv, line, rendered):
    record = checkout / "build" / "pgha" / "project.yaml"
    scaling = {"scaling": {"data_centers": "3", "nodes": "2"}}
    record.write_text(yaml.safe_dump({**yaml.safe_load(record.read_text()), **scaling}))
    assert_refused(inv(*line.split()), 3, "being scaled to -d 3 -p 2", hint="inv scale -d 3 -p 2")


@pytest.mark.parametrize("line", ["up", "start", "scale", "switchover", "chaos.heal"])
def test_while_a_recovery_is_half_done_its_way_on_is_named(checkout, inv, line, rendered):
    record = {"began": 1.0, "gone": ["pg1-node1"], "etcd": "etcd3", "candidate": "pg3-node1", "stage": "nodes"}
    (checkout / "build" / "pgha" / "recover.yaml").write_text(yaml.safe_dump(record))
    assert_refused(inv(*line.split()), 3, "A recovery from pg3-node1 and etcd3 is half done",
                   hint="inv recover --site-lost --accept-data-loss completes it")  # fmt: skip
    (checkout / "build" / "pgha" / "recover.yaml").write_text("began: never")
    assert_refused(inv(*line.split()), 3, "recover.yaml, the record of a recovery, is damaged", hint="rm build/pgha")


def test_a_host_without_docker_is_told_so(inv, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_refused(inv("up"), 3, "docker is not installed", hint="inv setup")


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ("clone", "-p STRING, --port=STRING +published port of the clone"),
        ("psql", "-s, --standby +a random standby .*"),
    ],
)
def test_each_flag_is_explained(inv, task, line):
    answer = inv("--help", task)
    assert answer.returncode == 0 and re.search(f"^  {line}$", answer.stdout, re.MULTILINE), answer.stdout


def test_setup_check_shows_what_lacks(inv):
    answer = inv("setup", "--check")
    assert answer.returncode == 3
    assert "container engine is not running" in answer.stdout
    assert "HINT: inv setup" in answer.stderr


@pytest.mark.parametrize("line", ["dsn", "psql --command select", "config", "switchover", "info", "report",
                                  "pause", "reinit --node pg1-node2", "database", "database --name app"])  # fmt: skip
def test_before_render_the_way_there_is_named(inv, line):
    assert_refused(inv(*line.split()), 3, hint="inv render")


@pytest.mark.parametrize("line", ["ssh --node pg1-node1 --command true", "config", "failover --candidate pg2-node1"])
def test_hosts_that_are_down_are_unreachable(inv, line, rendered):
    assert_refused(inv(*line.split()), 5, "cannot be reached over SSH", hint="inv up")


def test_a_hint_leads_to_the_project_it_speaks_of(inv, checkout, tmp_path):
    assert "HINT: inv setup" in inv("up").stderr
    for line in ("up", "dsn"):
        hint = inv(line, project="second").stderr.partition("HINT: ")[2]
        assert hint.startswith("INVOKE_PGHA_PROJECT=second inv ")
    assert '"hint": "INVOKE_PGHA_PROJECT=second inv ' in inv("status", "--json", project="second").stdout
    other = tmp_path / "my settings.yaml"
    shutil.copy(checkout / "invoke.yaml", other)
    assert f"HINT: inv -f '{other}' render" in inv("-f", str(other), "dsn").stderr


def test_a_shell_without_a_terminal_and_without_lines_is_refused(inv, rendered):
    assert_refused(inv("ssh", "--node", "pg1-node1"), 2, "no terminal", hint="inv ssh --node pg1-node1 --command")
    closed = inv("ssh", "--node", "pg1-node1", limit="exec 0<&-")
    assert_refused(closed, 2, "no terminal", hint="inv ssh --node pg1-node1 < script")


# Nobody is asked: nothing is lost ---------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["destroy", "keys --rotate"])
def test_unasked_nothing_is_removed(checkout, inv, line, rendered):
    before = files_of(checkout)
    assert inv(*line.split()).returncode == 2
    assert files_of(checkout) == before


def test_with_yes_the_keys_are_replaced(checkout, inv):
    inv("keys")
    folders = [checkout / "ssh" / "pgha", checkout / "tls" / "pgha"]
    before = [files_of(folder) for folder in folders]
    answer = inv("keys", "--rotate", "--yes")
    told = "9 keys made, 0 kept in ssh/pgha/\n13 certificates made, 0 kept in tls/pgha/\n"
    assert (answer.returncode, answer.stdout) == (0, told)
    after = [files_of(folder) for folder in folders]
    assert all(old[path] != new[path] for old, new in zip(before, after, strict=True) for path in old)


# A restore that is half done --------------------------------------------------------------------------------


@pytest.fixture
def half_done(checkout, rendered):
    """A rendered project whose restore was interrupted at this stage."""

    def half_done(stage):
        record = {
            "request": {"time": "2026-11-23 08:30:00+00:00"},
            "began": 1795422696,
            "stage": stage,
            "node": "pg2-node1",
        }
        (checkout / "build" / "pgha" / "restore.yaml").write_text(yaml.safe_dump(record))

    return half_done


@pytest.mark.parametrize(
    ("line", "stage", "code", "words", "hint"),
    [
        ("up", "restored", 3, "is half done (stage restored", "inv restore --abort brings the old cluster back"),
        ("upgrade --minor", "restored", 3, "is half done (stage restored", "--yes"),
        ("upgrade --major 18 --yes", "restored", 3, "is half done (stage restored", "--yes"),
        ("backup", "leading", 3, "is half done (stage leading", "inv restore --yes completes it"),
        ("failover --candidate pg2-node1", "held", 3, "A restore to time 2026-11-23 08:30:00+00:00 is half", "--yes"),
        ("pause", "restored", 3, "is half done (stage restored", "--yes"),
        ("resume", "restored", 3, "is half done (stage restored", "--yes"),
        ("reinit --node pg1-node2", "restored", 3, "is half done (stage restored", "--yes"),
        ("config --set failsafe_mode=false", "restored", 3, "is half done (stage restored", "--yes"),
        ("database --name app", "restored", 3, "is half done (stage restored", "--yes"),
        ("restore --name it --yes", "restored", 2, "is half done, not to name it", "inv restore --abort"),
        ("restore", "restored", 2, "Complete the restore to time 2026-11-23 08:30:00+00:00", "--yes"),
        ("restore --abort", "restored", 2, "Bring the old cluster of project pgha back", "--yes"),
        ("restore --abort --yes", "cloning", 2, "pg2-node1 already leads", "inv restore --yes completes the restore"),
    ],
)
def test_a_half_done_restore_comes_first(checkout, inv, half_done, line, stage, code, words, hint):
    half_done(stage)
    before = (checkout / "build" / "pgha" / "restore.yaml").read_text()
    assert_refused(inv(*line.split()), code, words, hint=hint)
    assert (checkout / "build" / "pgha" / "restore.yaml").read_text() == before


# A major upgrade that is half done --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    ["up", "render", "restore --yes", "backup", "start", "scale -p 3", "upgrade --minor", "keys", "clone --remove",
     "stop --node pg1-node1", "failover --candidate pg2-node1", "config --set failsafe_mode=false"],
)  # fmt: skip
def test_a_half_done_major_upgrade_comes_first(checkout, inv, rendered, line):
    path = checkout / "build" / "pgha" / "upgrade.yaml"
    record = {"old": 15, "new": 17, "began": 1795422696, "leader": "pg1-node1", "flags": {}, "stage": "upgrading"}
    path.write_text(yaml.safe_dump(record))
    before = files_of(checkout / "build" / "pgha")
    answer = inv(*line.split())
    assert_refused(
        answer, 3, "upgrade from PostgreSQL 15 to 17 is half done (stage upgrading", hint="inv upgrade --abort"
    )
    assert files_of(checkout / "build" / "pgha") == before


def test_where_no_upgrade_is_half_done_there_is_none_to_undo(inv):
    assert_refused(inv("upgrade", "--abort", "--yes"), 3, "No major upgrade is half done", hint="inv status")
    assert_refused(inv("upgrade"), 2, "one of --minor, --major and --abort", hint="inv upgrade --minor")


def test_where_no_restore_is_half_done_there_is_none_to_undo(inv):
    assert_refused(inv("restore", "--abort", "--yes"), 3, "No restore is half done", hint="inv status")


# Damage -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["status", "render", "dsn", "destroy --yes"])
def test_a_damaged_record_is_named_with_the_way_out(checkout, inv, line):
    record = checkout / "build" / "pgha" / "project.yaml"
    record.parent.mkdir(parents=True)
    record.write_bytes(b"\xff flags: [")
    assert_refused(inv(*line.split()), 3, "build/pgha/project.yaml is damaged", hint="rm build/pgha/project.yaml")


@pytest.mark.parametrize("line", ["keys", "render"])
def test_a_damaged_key_is_named(checkout, inv, line):
    inv("keys")
    (checkout / "ssh" / "pgha" / "id_ed25519").write_text("damaged")
    assert_refused(inv(line), 3, "ssh/pgha/id_ed25519 is not a private key", hint="inv keys --rotate")


def test_damaged_passwords_are_not_replaced(checkout, inv, rendered):
    passwords = checkout / "build" / "pgha" / "passwords.yaml"
    passwords.write_text("superuser: x\n")
    assert_refused(inv("render"), 3, "build/pgha/passwords.yaml is damaged", hint="inv destroy")
    assert passwords.read_text() == "superuser: x\n"


def test_a_second_command_is_told_who_changes_the_project(checkout, inv, rendered):
    with (checkout / "build" / "pgha.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("`inv up` of somebody, process 7")
        lock.flush()
        assert_refused(inv("render"), 3, "is being changed by `inv up` of somebody, process 7")
        assert inv("dsn").returncode == 0


# What works -------------------------------------------------------------------------------------------------


def test_render_works_as_the_manual_types_it(checkout, inv):
    answer = inv(*shlex.split("render -d 3 -p 2 -n pg -v 16"))
    assert answer.returncode == 0
    assert "PostgreSQL 16 on debian:trixie-slim" in answer.stdout
    assert "a commit waits for 2 standbys" in answer.stdout
    compose = yaml.safe_load((checkout / "build" / "pgha" / "compose.yaml").read_text())
    assert [name for name in compose["services"] if name in answer.stdout] == list(compose["services"])
    assert compose["services"]["pg3-node2"]["image"] == "pgha-pg16-patroni:trixie-pgdg"


def test_a_second_render_changes_no_byte(checkout, inv):
    # No client of this host gets these ports for an outgoing connection between the two.
    ports = {"postgres_port": "20551", "ssh_port": "20651"}
    inv("render", **ports)
    before = {path: path.stat().st_mtime_ns for path in files_of(checkout / "build" / "pgha")}
    assert before
    answer = inv("render", **ports)
    assert "is up to date" in answer.stderr
    assert {path: path.stat().st_mtime_ns for path in files_of(checkout / "build" / "pgha")} == before


def test_rendered_secrets_are_for_the_owner_alone(checkout, inv):
    inv("render")
    private = {
        str(path.relative_to(checkout / "build" / "pgha"))
        for path in files_of(checkout / "build" / "pgha")
        if path.stat().st_mode & 0o077 == 0
    }
    nodes = {f"pg{dc}-node{n}/patroni.conf" for dc in (1, 2, 3) for n in (1, 2)}
    hosts = {path.parent.name for path in (checkout / "build" / "pgha").glob("*/pgbackrest.conf")}
    assert len(hosts) == 7
    assert private == {"passwords.yaml", "pgpass"} | nodes | {f"{host}/pgbackrest.conf" for host in hosts}


def test_the_flags_of_render_hold_for_later_commands(inv):
    inv("render", "-d", "2", "-p", "1", "-n", "db")
    assert conninfo_to_dict(inv("dsn", "--inside").stdout)["host"] == "db1-node1,db2-node1"
    inv("render", "-d", "1", "-p", "1")
    assert conninfo_to_dict(inv("dsn", "--inside").stdout)["host"] == "pg1-node1"


def test_the_connection_string_stands_alone_on_stdout(checkout, inv):
    inv("render", "-d", "1")
    answer = inv("dsn")
    parameters = conninfo_to_dict(answer.stdout.strip())
    assert parameters["passfile"] == str(checkout / "build" / "pgha" / "pgpass")
    assert answer.stderr == ""
    answer = inv("dsn", "--standby")
    parameters = conninfo_to_dict(answer.stdout.strip())
    assert parameters["target_session_attrs"] == "standby"
    assert ("load_balance_hosts" in parameters) == (answer.stderr == "")


@pytest.mark.parametrize(
    ("version", "row"), [("15.18", ("ok", "psql 15.18")), ("", ("not here", "optional", "postgresql-client"))]
)
def test_setup_tells_whether_psql_is_here_and_needs_it_not(inv, tmp_path, monkeypatch, version, row):
    if version:
        (tmp_path / "psql").write_text(f"#!{BASH}\necho 'psql (PostgreSQL) {version}'\n")
        (tmp_path / "psql").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = inv("setup", "--check")
    (line,) = [line for line in answer.stdout.splitlines() if "│ psql" in line]
    assert all(word in line for word in row)


def test_false_in_the_environment_is_false(checkout, inv):
    answer = inv("render", pgbackrest="false")
    assert answer.returncode == 0
    assert "pgbackrest" not in answer.stdout
    assert not (checkout / "build" / "pgha" / "pgbackrest").exists()


def test_the_environment_is_read_from_any_folder(checkout, inv):
    answer = inv("render", folder="images/base", nodes="1")
    assert answer.returncode == 0
    assert (checkout / "build" / "pgha" / "pg3-node1").is_dir()
    assert not (checkout / "build" / "pgha" / "pg3-node2").exists()
    assert not (checkout / "images" / "base" / "build").exists()


def test_each_task_of_a_line_runs(inv):
    answer = inv("render", "render", "-d", "1", "dsn", nodes="1")
    assert answer.returncode == 0
    assert answer.stdout.count("pgha: PostgreSQL 17") == 2
    assert conninfo_to_dict(answer.stdout.splitlines()[-1])["target_session_attrs"] == "primary"


def test_an_error_ends_the_line(inv):
    answer = inv("dsn", "render")
    assert_refused(answer, 3, hint="inv render")


def test_two_projects_share_no_port(checkout, inv):
    for name in ("one", "other"):
        assert inv("render", "-p", "1", project=name).returncode == 0
    ports = []
    for name in ("one", "other"):
        record = yaml.safe_load((checkout / "build" / name / "project.yaml").read_text())
        ports += [port for entries in record["ports"].values() for port in entries.values()]
    assert len(set(ports)) == len(ports) == 14


def test_the_test_task_passes_on_how_the_tests_ended(checkout, inv):
    (checkout / "tests").mkdir()
    (checkout / "tests" / "test_it.py").write_text("def test_good(): pass\ndef test_bad(): assert False\n")
    assert inv("test", "-k", "good").returncode == 0
    assert inv("test", "--unit").returncode == 1


def test_without_the_extra_the_test_task_says_what_to_install(tasks, monkeypatch):
    body = tasks["test"].body
    monkeypatch.setitem(body.__globals__, "find_spec", lambda name: None if name == "pytest" else name)
    with pytest.raises(NotReady, match="pytest") as caught:
        body(None)
    assert (caught.value.exit_code, caught.value.hint) == (3, "pip install -e '.[test]'")


# After Ctrl-C -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "hint"),
    [("up", "the same command completes what it began"), ("failover", "inv status"), ("drill", "inv chaos.heal"),
     ("chaos.kill", "inv chaos.heal")],
)  # fmt: skip
def test_an_interrupted_command_says_what_became_of_it(command, hint):
    with pytest.raises(Interrupted, match=command) as caught, telling_interrupts(command):
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130
    assert hint in caught.value.hint


def test_every_command_with_a_hint_of_its_own_is_a_task(tasks):
    assert set(AFTER_INTERRUPT) <= {"drill", *tasks.task_names}


# The table of contents --------------------------------------------------------------------------------------


@pytest.fixture
def tasks(monkeypatch):
    for name in ("chaos", "drill"):
        # Invoke takes the help texts out of a task when it is first asked for its arguments.
        monkeypatch.delattr(f"pgha.cli.{name}", raising=False)
        monkeypatch.delitem(sys.modules, f"pgha.cli.{name}", raising=False)
    spec = importlib.util.spec_from_file_location("tasks_of_the_checkout", ROOT / "tasks.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return Collection.from_module(module)


@pytest.mark.parametrize("line", ["", "--list"])
def test_the_list_shows_every_task_with_a_sentence_under_its_theme(inv, tasks, line):
    answer = inv(*line.split())
    assert (answer.returncode, answer.stderr) == (0, "")
    for name, aliases in tasks.task_names.items():
        assert re.search(rf"^  {(*aliases, name)[0]} +\S", answer.stdout, re.MULTILINE)
    themes = re.findall(r"^# (.+?) -{10,}$", (ROOT / "tasks.py").read_text(), re.MULTILINE)
    themes += [f"{words[0].upper()}{words[1:]}" for words in ("break things on purpose", "play a failure under load")]
    headings = re.findall(r"^\S.*", answer.stdout, re.MULTILINE)[:-1]
    assert all(heading.startswith(theme) for heading, theme in zip(headings, themes, strict=True))
    backups = answer.stdout.partition("Backups\n")[2].partition("\n\n")[0]
    assert re.findall(r"^  (\S+)", backups, re.MULTILINE)[:3] == ["stanza", "backup", "info"]


def test_a_part_of_the_list_and_its_json_are_invoke_s(inv):
    assert "  .kill " in inv("--list", "chaos").stdout
    assert json.loads(inv("--list", "--list-format", "json").stdout)["name"] == "tasks"


@pytest.mark.parametrize(
    ("line", "words", "hint"),
    [
        ("statsu", "There is no task statsu", "inv status"),
        ("render statsu", "There is no task statsu", "inv render status"),
        ("render -d 1 --per-data-centre 2", "render has no flag --per-data-centre",
         "inv render -d 1 --per-data-center 2"),
        ("--help statsu", "There is no task statsu", "inv --help status"),
        ("psql --command", "--command needs a value", "inv --help psql"),
        ("database statsu", "There is no task statsu", "inv database status"),
    ],
)  # fmt: skip
def test_a_line_that_means_nothing_is_answered_with_the_one_that_was_meant(checkout, inv, line, words, hint):
    answer = inv(*line.split(), project="second")
    assert_refused(answer, 2, words)
    assert answer.stderr.splitlines()[1].split(", or ")[0] == f"HINT: INVOKE_PGHA_PROJECT=second {hint}"
    assert not (checkout / "build").exists(), "what stood before it has run"


def test_a_host_needs_no_flag(inv, rendered):
    for line in ("ssh pg1-node1 true\\;", "failover pg2-node1", "chaos.kill --process postgres pg1-node1"):
        assert inv(*line.split()).returncode in (3, 5), line
    assert_refused(inv("ssh", "pg9-node9"), 2, "pg9-node9 is not a host of project pgha")
    assert_refused(inv("switchover", "etcd1"), 2, "There is no task etcd1", hint="inv switchover --candidate etcd1")


@pytest.mark.parametrize(
    ("line", "offered", "not_offered"),
    [
        ("inv ", {"status", "ssh"}, {"pg1-node1"}),
        ("inv ssh --node ", {"pg1-node1", "etcd2", "pgbackrest"}, {"status", "dc1"}),
        ("inv failover pg", {"pg1-node1", "pg3-node2", "status"}, {"etcd1"}),
        ("inv stop --dc ", {"dc1", "dc3", "backup"}, {"pg1-node1"}),
        ("inv ssh --n", {"--node", "--command"}, {"pg1-node1"}),
        ("inv stop --node pg1-node1 ", {"status"}, {"pg1-node1"}),
    ],
)
def test_tab_offers_hosts_where_one_can_stand(inv, line, offered, not_offered):
    words = set(inv("--complete", "--", line).stdout.split())
    assert offered <= words
    assert not not_offered & words


def test_tab_is_quiet_while_the_settings_are_wrong(inv):
    answer = inv("--complete", "--", "inv ssh --node ", nodes="none")
    assert (answer.returncode, answer.stdout.strip(), answer.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_completion(inv, shell):
    assert "--complete --" in inv("--print-completion-script", shell).stdout


def test_every_task_has_an_example_that_can_be_typed(tasks):
    parser = Parser(contexts=tasks.to_contexts())
    for name in tasks.task_names:
        (example,) = re.findall(r"^\s*Example: (.+)$", tasks[name].__doc__, re.MULTILINE)
        line = re.search(r"inv [^)]*", example)[0] if "$(" in example else example
        program, *arguments = shlex.split(line)
        assert program == "inv"
        assert [context.name for context in parser.parse_argv(arguments)] == [name]


def test_every_parameter_has_a_default_and_a_help_text(tasks):
    for name in tasks.task_names:
        task = tasks[name]
        _, *parameters = inspect.signature(task.body).parameters.values()
        for parameter in parameters:
            assert parameter.default is not inspect.Parameter.empty, f"{name} {parameter.name}"
        for argument in task.get_arguments():
            assert argument.help, f"{name} {argument.name}"


def test_one_task_s_help_shows_its_flags(inv):
    answer = inv("--help", "render")
    assert answer.returncode == 0
    assert "Example: inv render" in answer.stdout
    for flag in ("-d", "-p", "-n", "-v", "--data-centers", "--per-data-center", "--name", "--version"):
        assert flag in answer.stdout


def test_a_disk_that_takes_nothing_more_is_one_sentence_and_loses_nothing(checkout, inv, rendered):
    before = {path: content for path, content in files_of(checkout / "build").items() if path.suffix != ".lock"}
    passwords = before[checkout / "build" / "pgha" / "passwords.yaml"]
    # No file may grow: as on a full disk, every write ends with an error of the operating system.
    answer = inv("render", "-d", "1", "-p", "2", limit="ulimit -f 0")
    assert_refused(answer, 4, "This host refused: File too large", hint="df -h")
    assert (checkout / "build" / "pgha" / "passwords.yaml").read_bytes() == passwords
    after = files_of(checkout / "build")
    assert {path: after[path] for path in before} == before


def test_every_verb_but_those_that_follow_the_settings_speaks_of_what_runs(checkout, inv):
    assert inv("render", "-d", "1", "-p", "1").returncode == 0
    project = open_project([], root=checkout)
    note_running(project)
    other = {"publish_address": "127.0.0.2", "postgres_port": "45000"}
    string = conninfo_to_dict(inv("dsn", **other).stdout.strip())
    assert (string["hostaddr"], string["port"]) == ("127.0.0.1", str(project.ports["postgres"]["pg1-node1"]))
    assert inv("render", "-d", "1", "-p", "1", **other).returncode == 0
    assert "127.0.0.2:45" in (checkout / "build/pgha/compose.yaml").read_text()
    assert conninfo_to_dict(inv("dsn", **other).stdout.strip()) == string, "it is rendered, and not up"
