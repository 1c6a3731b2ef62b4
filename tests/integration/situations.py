"""What each runbook of docs/runbooks/ is for, made on a real stack.

A situation returns what the reader has to fill in: a word of the runbook's commands -> what it is here.
"""

import json

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


def pause(stack):
    stack.inv("pause")


def pause_and_lose_the_leader(stack):
    stack.inv("pause")
    kill(LEADER)(stack)


def end_patroni(stack):
    stack.inv("ssh", "--node", REPLICA, "--command", "s6-svc -wD -d /service/patroni")


def cut_off(stack):
    stack.inv("chaos.partition", "--dc", "dc1")


def empty_the_volume_of_etcd3(stack):
    """As after its disk was replaced."""
    stack.shell("etcd3", "rm -rf /var/lib/etcd/member")
    docker("kill", stack.container("etcd3"))
    docker("start", stack.container("etcd3"))


def raise_an_alarm(stack):
    """What etcd does itself when its data is at its quota; two gigabytes would take minutes."""

    def ask(what, **fields):
        url = f"{stack.scheme}://etcd1:2379/v3/maintenance/{what}"
        line = ("curl", "-sfm", "10", "--data", json.dumps(fields), url)
        return json.loads(stack.run(LEADER, *line))

    me = ask("status")["header"]["member_id"]
    ask("alarm", action="ACTIVATE", memberID=me, alarm="NOSPACE")


def fill_the_leader(stack):
    stack.inv("chaos.fill", "--node", LEADER)


def fill_the_leader_of_an_async_cluster(stack):
    stack.settings = {"durability": "async"}
    stack.inv("up")
    fill_the_leader(stack)


def lose_the_repository(stack):
    kill("pgbackrest")(stack)
    stack.sql(LEADER, "select pg_switch_wal()")


def lose_the_repository_and_its_volume(stack):
    docker("rm", "--force", stack.container("pgbackrest"))
    docker("volume", "rm", f"{stack.name}_pgbackrest")


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


def edit_the_settings(stack):
    stack.settings = {"shm_size": "300m"}


def change_the_password(stack):
    stack.sql(LEADER, "alter role postgres password 'of somebody else'")


TWO_NODES = {
    "leader-gone": kill(LEADER),
    "leader-gone-in-a-pause": pause_and_lose_the_leader,
    "node-gone": kill(REPLICA),
    "host-replaced": lose_the_replica_and_its_volume,
    "patroni-does-not-answer": end_patroni,
    "etcd-without-quorum": kill("etcd1", "etcd2"),
    "etcd-member-lost": empty_the_volume_of_etcd3,
    "etcd-alarm": raise_an_alarm,
    "disk-full": fill_the_leader,
    "disk-full-async": fill_the_leader_of_an_async_cluster,
    "member-does-not-stream": damage_the_replica,
    "more-nodes": nothing_wrong,
}
"""On one data center with two nodes, `pg1-node1` leading: members that are broken, or are to be more."""

DAY_TWO = {
    "maintenance-mode": pause,
    "switchover": nothing_wrong,
    "parameter": change_a_parameter,
    "change-a-setting": edit_the_settings,
    "clients-cannot-log-in": change_the_password,
    "database": nothing_wrong,
    "rotate": nothing_wrong,
    "upgrade": nothing_wrong,
    "report": nothing_wrong,
    "backups": nothing_wrong,
    "repository-gone": lose_the_repository,
    "repository-lost": lose_the_repository_and_its_volume,
    "one-table": drop_a_table,
    "restore": drop_a_table,
}
"""On the same in another project: changes, and what is brought back. What ends with a new history comes last."""

AN_OLDER_MAJOR = {"upgrade-major": nothing_wrong}
"""On the same with PostgreSQL 15."""

THREE_SITES = {
    "site-gone": kill("pg1-node1", "etcd1"),
    "site-cut-off": cut_off,
    "maintenance": nothing_wrong,
    "move-a-data-center": nothing_wrong,
    "sites-gone-for-good": kill("pg1-node1", "etcd1", "pg2-node1", "etcd2"),
}
"""On three data centers with one node each, `pg1-node1` leading."""

SITUATIONS = {**TWO_NODES, **DAY_TWO, **AN_OLDER_MAJOR, **THREE_SITES}


def lead(stack):
    """The names of a runbook are right: its leader leads, and every standby is synchronous."""
    if stack.wait_synchronous() != LEADER:
        stack.inv("failover", "--candidate", LEADER)
        until(lambda: stack.wait_synchronous() == LEADER, f"{LEADER} leads")
