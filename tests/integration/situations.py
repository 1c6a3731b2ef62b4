"""What each runbook of docs/runbooks/ is for, made on a real stack.

A situation returns what the reader has to fill in: a word of the runbook's commands -> what it is here.
"""

from tools import docker, now, until

LEADER, REPLICA = "pg1-node1", "pg1-node2"
"""The names in the runbooks."""


def kill(*hosts):
    """The containers are gone, and nothing brings them back."""

    def made(stack):
        docker("kill", *(stack.container(host) for host in hosts))

    return made


def nothing_wrong(stack):
    pass


def end_patroni(stack):
    stack.inv("ssh", "--node", REPLICA, "--command", "s6-svc -wD -d /service/patroni")


def cut_off(stack):
    stack.inv("chaos.partition", "--dc", "dc1")


def fill_the_leader(stack):
    stack.inv("chaos.fill", "--node", LEADER)


def lose_the_repository(stack):
    kill("pgbackrest")(stack)
    stack.sql(LEADER, "select pg_switch_wal()")


def damage_the_replica(stack):
    stack.shell(REPLICA, "rm /pgdata/17/global/pg_control; pkill -9 -x postgres")


def lose_the_replica_and_its_volume(stack):
    docker("rm", "--force", stack.container(REPLICA))
    docker("volume", "rm", f"{stack.name}_{REPLICA}")


def drop_a_table(stack):
    """Orders, a restore point and a moment that have them, and the mistake."""
    stack.sql(LEADER, "drop table if exists orders; create table orders as select generate_series(1, 1000) n")
    stack.inv("restore-point", "--name", "before_cleanup")
    moment = now()
    stack.sql(LEADER, "drop table orders")
    return {"2026-11-23 08:30:00Z": moment}


def change_a_parameter(stack):
    stack.inv("config", "--set", "postgresql.parameters.max_connections=90", "--yes")


TWO_NODES = {
    "leader-gone": kill(LEADER),
    "node-gone": kill(REPLICA),
    "host-replaced": lose_the_replica_and_its_volume,
    "patroni-does-not-answer": end_patroni,
    "etcd-without-quorum": kill("etcd1", "etcd2"),
    "disk-full": fill_the_leader,
    "repository-gone": lose_the_repository,
    "member-does-not-stream": damage_the_replica,
    "parameter": change_a_parameter,
    "one-table": drop_a_table,
    "restore": drop_a_table,
}
"""On one data center with two nodes, `pg1-node1` leading. What ends with a new history comes last."""

THREE_SITES = {
    "site-gone": kill("pg1-node1", "etcd1"),
    "site-cut-off": cut_off,
    "maintenance": nothing_wrong,
    "move-a-data-center": nothing_wrong,
}
"""On three data centers with one node each, `pg1-node1` leading."""

SITUATIONS = {**TWO_NODES, **THREE_SITES}


def lead(stack):
    """The names of a runbook are right: its leader leads, and every standby is synchronous."""
    if stack.wait_synchronous() != LEADER:
        stack.inv("failover", "--candidate", LEADER)
        until(lambda: stack.wait_synchronous() == LEADER, f"{LEADER} leads")
