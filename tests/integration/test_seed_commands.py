"""The commands of the document this project implements, as they stand there, inside the containers."""

import subprocess

import pytest
from tools import program, until

pytestmark = pytest.mark.integration

NODES = "pg1-node1,pg1-node2,pg2-node1,pg2-node2,pg3-node1,pg3-node2"


@pytest.fixture
def seed(main):
    """Run one of its lines in a shell, with this project's container prefix."""

    def seed(line):
        answer = program("sh", "-c", line.replace("pgha-", f"{main.name}-"), stdin=subprocess.DEVNULL)
        return answer.stdout

    return seed


def test_patronictl_list(main, seed):
    shown = seed("docker exec pgha-pg3-node2 patronictl -c /pgha/config/patroni.conf list")
    assert "pgha_cluster" in shown
    assert all(node in shown for node in main.nodes)
    assert shown.count("streaming") == 5


def test_patronictl_show_config_and_edit_config(main, seed):
    seed(
        "docker exec pgha-pg3-node2 patronictl -c /pgha/config/patroni.conf edit-config "
        "-s postgresql.parameters.log_min_duration_statement=1234 --force"
    )
    try:
        shown = seed("docker exec pgha-pg3-node2 patronictl -c /pgha/config/patroni.conf show-config")
        assert "log_min_duration_statement: 1234" in shown
        question = "show log_min_duration_statement"
        until(lambda: main.sql("pg1-node2", question) == "1234ms", "pg1-node2 takes the setting over")
    finally:
        seed(
            "docker exec pgha-pg1-node1 sh -c 'patronictl -c $PATRONI_CFG edit-config "
            "-s postgresql.parameters.log_min_duration_statement=1000 --force'"
        )


def test_patronictl_failover(main, seed):
    candidate = next(node for node in ("pg1-node1", "pg2-node1") if node != main.leader())
    seed(f"docker exec pgha-pg3-node2 patronictl -c /pgha/config/patroni.conf failover --candidate={candidate} --force")
    until(lambda: main.leads(candidate), f"{candidate} leads")
    main.wait_well()


def test_pgbackrest_info_and_check(seed):
    assert "status: ok" in seed("docker exec pgha-pgbackrest su -c 'pgbackrest --stanza=${STANZA_NAME} info' postgres")
    seed("docker exec pgha-pgbackrest su -c 'pgbackrest --stanza=${STANZA_NAME} stanza-create' postgres")
    seed("docker exec pgha-pgbackrest su -c 'pgbackrest --stanza=${STANZA_NAME} check' postgres")


def test_the_variables_it_relies_on(seed):
    assert "STANZA_NAME=pg_ha_db" in seed("docker exec pgha-pgbackrest env")
    environment = seed("docker exec pgha-pg2-node1 env")
    assert "STANZA_NAME=pg_ha_db" in environment
    assert "PATRONI_CFG=/pgha/config/patroni.conf" in environment


def test_psql_inside_spreads_over_the_standbys(main, seed):
    string = f"host={NODES} user=postgres target_session_attrs=standby load_balance_hosts=random"
    query = "select inet_server_addr(), pg_is_in_recovery()"
    twelve_times = f"for i in 1 2 3 4 5 6 7 8 9 10 11 12; do psql '{string}' -XAtc '{query}'; done"
    rows = seed(f'docker exec -e PGPASSFILE=/pgha/config/pgpass pgha-pg2-node2 sh -c "{twelve_times}"').split()
    assert len(rows) == 12
    assert all(row.endswith("|t") for row in rows)
    assert len(set(rows)) > 1


def test_psql_inside_finds_the_leader(main, seed):
    string = f"host={NODES} user=postgres target_session_attrs=primary"
    shown = seed(
        f"docker exec -e PGPASSFILE=/pgha/config/pgpass pgha-pg2-node2 "
        f"psql '{string}' -XAtc 'select pg_is_in_recovery()'"
    )
    assert shown.strip() == "f"


def test_psql_inside_is_as_new_as_the_server(seed):
    assert "(PostgreSQL) 17." in seed("docker exec pgha-pg2-node2 psql --version")


def test_etcdctl_is_at_hand_in_a_node(main, seed):
    shown = seed("docker exec pgha-pg3-node2 etcdctl --endpoints=https://etcd1:2379 member list")
    assert shown.count("started") == 5
    shown = seed("docker exec pgha-pg3-node2 etcdctl --endpoints=https://etcd3:2379 get --prefix / --keys-only")
    assert "/pgha_cluster/leader" in shown
