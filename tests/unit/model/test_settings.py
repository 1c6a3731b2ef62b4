import os

import pytest

from pgha.errors import BadSettings
from pgha.model.settings import environment_layer, read_settings


def problems_of(*layers):
    with pytest.raises(BadSettings) as caught:
        read_settings(*layers)
    return caught.value.problems


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("project", "Upper", "Compose project name"),
        ("project", "", "Compose project name"),
        ("project", "a/b", "Compose project name"),
        ("project", "..", "Compose project name"),
        ("project", "a" * 32, "Compose project name"),
        ("prefix", "PG", "host name"),
        ("prefix", "my_pg", "host name"),
        ("prefix", "1pg", "host name"),
        ("prefix", "-pg", "host name"),
        ("prefix", "", "host name"),
        ("prefix", "p" * 32, "host name"),
        ("prefix", "pg\n", "host name"),
        ("data_centers", 0, "not 1 or more"),
        ("data_centers", -1, "not 1 or more"),
        ("nodes", 0, "not 1 or more"),
        ("nodes", "abc", "not a whole number"),
        ("nodes", "", "not a whole number"),
        ("nodes", "1.5", "not a whole number"),
        ("nodes", None, "not a whole number"),
        ("nodes", True, "not a whole number"),
        ("nodes", [2], "not a whole number"),
        ("postgres", 13, "not a supported major"),
        ("postgres", 19, "not a supported major"),
        ("pgbackrest", "maybe", "neither on nor off"),
        ("pgbackrest", "", "neither on nor off"),
        ("base_image", "alpine:3", "not a base"),
        ("base_image", "debian:buster", "not a base"),
        ("base_image", "ubuntu:trixie", "not a base"),
        ("durability", "sync", "neither quorum nor async"),
        ("durability", {"a": 1}, "not a text"),
        ("prefix", False, "not a text"),
        ("ttl", 19, "minimum of 20"),
        ("loop_wait", 0, "minimum of 1"),
        ("retry_timeout", 2, "minimum of 3"),
        ("publish_address", "localhost", "not an IPv4 address"),
        ("publish_address", "", "not an IPv4 address"),
        ("publish_address", "127.0.0.256", "not an IPv4 address"),
        ("subnet", "172.30.240.0", "too small for 3 data centers: it takes a /21"),
        ("subnet", "172.30.240.0/22", "too small for 3 data centers: it takes a /21"),
        ("subnet", "172.30.241.0/20", "not an IPv4 network such as 172.30.240.0/20"),
        ("subnet", "fd00::/64", "not an IPv4 network"),
        ("subnet", "mine", "not an IPv4 network"),
        ("certificate_names", "db.example.com 10.0.0.999", "10.0.0.999 is not an address"),
        ("certificate_names", "fe80:::1", "fe80:::1 is not an address"),
        ("certificate_names", "db_1", "'db_1' is not a host name"),
        ("certificate_names", "*.example.com", "is not a host name"),
        ("certificate_names", "db.example.com,other", "is not a host name"),
        ("parameters", {"ssl_min_protocol_version": "TLSv1.1"}, "is none of TLSv1.2, TLSv1.3"),
        ("parameters", {"ssl": "off"}, "ssl is set by tls"),
        ("subnet", "172.32.0.0/20", "not within 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16"),
        ("subnet", "172.0.0.0/8", "not within"),
        ("subnet", "127.0.0.0/20", "not within"),
        ("postgres_port", 80, "not a port"),
        ("ssh_port", 65530, "not a port"),
        ("retention_full", 0, "not 1 or more"),
        ("retention_full", -1, "not 1 or more"),
        ("retention_diff", -1, "not 0 or more"),
        ("process_max", -1, "not between"),
        ("process_max", 1000, "not between"),
        *[
            ("archive_queue_max", size, "not a size such as 5GiB")
            for size in ("GiB", "5gib", "-5GiB", "5.5GiB", "5 GiB", "5EiB", "5GiB\n", "all")
        ],
        ("archive_queue_max", True, "not a text"),
        *[
            ("scratch_preload_libraries", names, "not a list of libraries")
            for names in ("a b", "a,", ",", "a;b", "'a'")
        ],
        *[
            (f"schedule_{job}", times, "not a crontab time")
            for job in ("full", "diff", "incr", "verify")
            for times in ("0 1 * *", "60 1 * * *", "0 24 * * *", "0 0 30 2 *", "@daily", "always", " ")
        ],
        # What crontab(5) does not know: crontab refuses it, or reads something else.
        *[
            ("schedule_full", times, "not a crontab time")
            for times in ("0 1 L * *", "0 1 LW * *", "0 1 * * 5L", "0 1 * * 0#1", "0 0 1 * * 0", "0 1\n* * 0")
        ],
        ("up_timeout", 1, "less than 10"),
        ("superuser_password", "schlüssel", "printable ASCII"),
        ("monitoring_port", 80, "not a port"),
        ("notify", "hooks.example.com", "neither the URL"),
        ("notify", "https://user:secret@hooks.example.com/", "neither the URL"),
        ("notify", "https://hooks.example.com/x", "without monitoring"),
        ("notify", "ops@example.com", "takes notify_smarthost"),
        ("notify_smarthost", "mail.example.com", "not a host and a port"),
        ("replication_password", "two\nlines", "printable ASCII"),
        ("rewind_password", "tab\t", "printable ASCII"),
        ("restapi_password", "nul\0", "printable ASCII"),
        ("repository_passphrase", "two\nlines", "printable ASCII"),
        ("nosuch", "1", "no such setting"),
        # What YAML would have made another number of.
        ("nodes", "02", "'02' is not a whole number"),
        ("nodes", "0o2", "'0o2' is not a whole number"),
        ("postgres_port", "50_551", "'50_551' is not a whole number"),
        ("ttl", "0:20", "'0:20' is not a whole number"),
        ("ttl", "٢٠", "not a whole number"),
        ("drill_gap_lost", "025.0", "not a number"),
        *[("shm_size", size, "not a size of at least 64m") for size in ("", "63m", "256", "1t", "-1g", "1.5g", "m")],
        *[("locales", name, "not the name of a locale") for name in ("german", "de-DE", "de_DE; rm", "../x", "$X")],
        *[("image_tag", tag, "not up to 64 letters") for tag in ("-a", "a/b", "a:b", "a b", "x" * 65)],
        ("parameters", "8MB", "not a table"),
        ("parameters", "a: [", "not YAML"),
        ("parameters", ["a"], "not a table"),
        ("parameters", {"work_mem": None}, "work_mem has no value"),
        ("parameters", {"work_mem": {"a": 1}}, "of work_mem is not a text"),
        ("parameters", "{work_mem: 1MB, work_mem: 2MB}", "work_mem is given twice"),
        ("parameters", {"Work Mem": "1MB"}, "not the name of a Postgres parameter"),
        ("parameters", {"archive_command": "true"}, "is set by inv stanza"),
        ("parameters", {"synchronous_standby_names": "*"}, "is set by durability"),
        ("parameters", {"recovery_target_time": "x"}, "is set by inv restore"),
        ("parameters", {"port": "5433"}, "is set by the containers"),
        ("parameters", {"max_connections": "24"}, "at least 25"),
        ("parameters", {"max_connections": "many"}, "at least 25"),
        ("parameters", {"max_replication_slots": "1e3"}, "at least 4"),
        ("parameters", {"work_mem": "8\nMB"}, "printable ASCII"),
        ("slots", "cdc", "not a table such as {cdc: {database: app}}"),
        ("slots", {"cdc": "app"}, "not a table such as {cdc: {database: app}}"),
        ("slots", {"cdc": None}, "not a table"),
        ("slots", {"cdc": {"database": None}}, "database has no value"),
        ("slots", {"Cdc": {"database": "app"}}, "not the name of a slot"),
        ("slots", {"c" * 64: {"database": "app"}}, "not the name of a slot"),
        ("slots", {"pg2_node1": {"type": "physical"}}, "a member's own slot"),
        ("slots", {"cdc": {"database": "app", "two_phase": "on"}}, "cdc has two_phase"),
        ("slots", {"cdc": {"type": "logic", "database": "app"}}, "neither logical nor physical"),
        ("slots", {"cdc": {"type": "physical", "database": "app"}}, "no database and no plugin"),
        ("slots", {"cdc": {"plugin": "pgoutput"}}, "names no database"),
        ("slots", {"cdc": {"database": "app", "plugin": "a b"}}, "not the name of a library"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(key, value, words):
    problems = problems_of({key: value})
    assert len(problems) == 1
    assert problems[0].startswith(f"{key}: ")
    assert words in problems[0]


def test_no_password_is_repeated_in_its_error():
    assert "gehörig-geheim" not in problems_of({"superuser_password": "gehörig-geheim"})[0]


@pytest.mark.parametrize(("data_centers", "nodes"), [(5, 2), (2, 5), (10, 1), (1, 10), (100, 100)])
def test_more_than_nine_nodes_are_refused(data_centers, nodes):
    (problem,) = problems_of({"data_centers": data_centers, "nodes": nodes})
    assert f"{data_centers * nodes} Postgres nodes; 9 is the most" in problem


def test_a_wrong_data_center_count_says_nothing_about_the_nodes():
    (problem,) = problems_of({"data_centers": "abc", "nodes": 4})
    assert problem.startswith("data_centers: ")


@pytest.mark.parametrize(
    ("ttl", "loop_wait", "retry_timeout", "fits"),
    [(20, 2, 5, True), (20, 10, 5, True), (20, 11, 5, False), (30, 10, 10, True), (29, 10, 10, False)],
)
def test_ttl_leaves_time_for_a_loop_and_two_retries(ttl, loop_wait, retry_timeout, fits):
    layer = {"ttl": ttl, "loop_wait": loop_wait, "retry_timeout": retry_timeout}
    if fits:
        assert read_settings(layer).ttl == ttl
    else:
        (problem,) = problems_of(layer)
        assert problem.startswith("ttl: ")
        assert str(loop_wait + 2 * retry_timeout) in problem


def test_all_problems_are_told_at_once():
    wrong = {"nodes": "x", "prefix": "Bad_Name", "postgres": 9, "durability": "never", "tll": 30, "pgbackrest": "?"}
    problems = problems_of(wrong)
    assert sorted(problem.split(":")[0] for problem in problems) == sorted(wrong)


@pytest.mark.parametrize("count", [1, 3])
def test_the_error_counts_and_hints(count):
    with pytest.raises(BadSettings) as caught:
        read_settings({f"key{n}": 1 for n in range(count)})
    assert caught.value.message.startswith("1 setting is wrong" if count == 1 else "3 settings are wrong")
    assert "invoke.yaml" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(text, False) for text in ("false", "False", "no", "off", "0", False)],
        *[(text, True) for text in ("true", "YES", "on", "1", True)],
    ],
)
def test_a_switch_understands_the_usual_words(text, value):
    assert read_settings({"pgbackrest": text}).pgbackrest is value


def test_numbers_may_be_text():
    settings = read_settings({"data_centers": "2", "nodes": " 4 "})
    assert settings.node_count == 8


def test_stock_settings_promise_what_they_can_keep_but_for_what_is_given():
    stock = read_settings({"stock": "on", "drill_gap_lost": "40"})
    assert (stock.ttl, stock.drill_gap_planned, stock.drill_gap_process, stock.drill_gap_lost) == (30, 10, 15, 40)
    assert stock.drill_gap_lost > stock.ttl and read_settings({}).drill_gap_planned < stock.drill_gap_planned


def test_later_layers_win():
    assert read_settings({"nodes": 1, "prefix": "a"}, {"nodes": "3"}).nodes == 3


def test_the_environment_layer_is_text_of_our_variables_only():
    environment = {"INVOKE_PGHA_PGBACKREST": "false", "INVOKE_PGHA_DATA_CENTERS": "2", "INVOKE_DEBUG": "1", "HOME": "/"}
    layer = environment_layer(environment)
    assert layer == {"pgbackrest": "false", "data_centers": "2"}
    settings = read_settings(layer)
    assert settings.pgbackrest is False
    assert settings.data_centers == 2


def test_the_longest_names_are_accepted():
    settings = read_settings({"prefix": "p" * 31, "project": "0" * 31})
    assert len(settings.prefix) == len(settings.project) == 31


@pytest.mark.parametrize("password", ["plain", "with space", "a'b\"c:d#e\\f%g", "{{ x }}", ""])
def test_any_printable_password_is_accepted(password):
    assert read_settings({"superuser_password": password}).superuser_password == password


@pytest.mark.parametrize("names", ["", "timescaledb", "pg_cron,$libdir/citus"])
def test_libraries_of_copies_are_given_as_postgres_takes_them(names):
    assert read_settings({"scratch_preload_libraries": names}).scratch_preload_libraries == names


@pytest.mark.parametrize("size", ["", "5368709120", "0B", "512MB", "5GiB", "1TiB", "1PB"])
def test_a_size_is_given_as_pgbackrest_takes_it(size):
    assert read_settings({"archive_queue_max": size}).archive_queue_max == size


@pytest.mark.parametrize("times", ["", "0 1 * * 0", "*/15 2-4 1,15 * *", "0 1 * * MON-FRI", "0 1 1 jan 7"])
def test_a_schedule_is_given_as_in_crontab(times):
    assert read_settings({"schedule_full": times}).schedule_full == times


def test_a_schedule_that_is_nothing_is_never():
    assert read_settings({"schedule_full": None}).schedule_full == ""


@pytest.mark.parametrize(("processes", "made"), [(0, os.cpu_count()), (1, 1), (999, 999)])
def test_without_a_number_every_cpu_works(processes, made):
    assert read_settings({"process_max": processes}).processes == made


@pytest.mark.parametrize(
    "given", [{"work_mem": "8MB", "jit": "off"}, {"work_mem": "8MB", "jit": False}, "{work_mem: 8MB, jit: off}"]
)
def test_parameters_are_a_table_or_its_text(given):
    assert read_settings({"parameters": given}).parameters == {"work_mem": "8MB", "jit": "off"}


def test_without_parameters_there_are_none():
    assert read_settings({"parameters": ""}).parameters == read_settings({}).parameters == {}


def test_a_url_that_is_a_secret_is_in_no_sentence():
    for given in ({"notify": "https://hooks.example.com/T0/hush"}, {"notify": "https://a:hush@hooks.example.com"}):
        assert not any("hush" in problem for problem in problems_of(given))


def test_an_older_alertmanager_reads_no_url_from_a_file():
    given = {"monitoring": "on", "notify": "https://hooks.example.com/x"}
    assert problems_of({**given, "postgres": 15}) == ["notify: a webhook takes Alertmanager 0.26, bookworm has 0.25"]
    assert read_settings({**given, "postgres": 17}).notify
