"""`inv chaos.*`: break things on purpose, by their mechanism, and bring everything back."""

from __future__ import annotations

from collections.abc import Sequence

from invoke import Context, task

from pgha import console
from pgha.backup.restore_record import read_restore
from pgha.cli.changing import changing
from pgha.cli.show_status import show_view
from pgha.errors import BadValue
from pgha.failures import aims, containers, disks, healing, networks
from pgha.failures.broken import Broken, Mechanism
from pgha.project.upgrade_record import read_upgrade

HELP = {
    "node": "a host, such as pg1-node1, etcd2 or pgbackrest",
    "dc": "every host of a site, such as dc2 or witness",
    "process": "postgres, patroni or sshd inside the container instead of the container",
}


def _break(c: Context, mechanism: Mechanism, node: str, dc: str, process: str) -> None:
    with changing(c, f"chaos.{mechanism}") as (project, _):
        entries = containers.signal_hosts(project, mechanism, aims.targets(project, node, dc), process)
    _tell(entries)


def _tell(entries: Sequence[Broken]) -> None:
    console.show(*(str(entry) for entry in entries))
    console.hint("inv status shows what is left; inv chaos.heal brings everything back")


@task(help=HELP)
def stop(c, node="", dc="", process=""):
    """SIGTERM: stop containers, or a process inside; they stay so, but Patroni starts its Postgres again.

    Example: inv chaos.stop --node pg1-node1
    """
    _break(c, Mechanism.STOP, node, dc, process)


@task(help=HELP)
def kill(c, node="", dc="", process=""):
    """SIGKILL: kill containers, which stay so, or a process inside, which its supervisor starts again.

    Example: inv chaos.kill --node pg1-node1 --process postgres
    """
    _break(c, Mechanism.KILL, node, dc, process)


@task(help=HELP)
def pause(c, node="", dc="", process=""):
    """SIGSTOP: freeze containers, or a process inside; a frozen Patroni is killed after 8 s and started again.

    Example: inv chaos.pause --dc dc2
    """
    _break(c, Mechanism.PAUSE, node, dc, process)


@task(
    help={
        "dc": "the site to cut off, such as dc2",
        "from_": "only from this site",
        "node": "a Postgres node instead: cut off from the other Postgres nodes only",
    }
)
def partition(c, dc="", from_="", node=""):
    """Cut a data center off from all others, or from one; inside it everything still talks.

    Example: inv chaos.partition --dc dc2 --from dc1
    """
    if node and (dc or from_):
        raise BadValue("--node takes no site: it is cut off from the other nodes", f"inv chaos.partition --node {node}")
    with changing(c, "chaos.partition") as (project, _):
        entries = networks.isolate(project, node) if node else networks.partition(project, dc, from_)
    _tell(entries)


@task(help={"node": "a Postgres node"})
def wipe(c, node=""):
    """The data directory is gone; Patroni clones it again.

    Example: inv chaos.wipe --node pg2-node1
    """
    with changing(c, "chaos.wipe") as (project, _):
        host = disks.wipe(project, node)
    console.show(f"the data of {host.name} is gone")
    console.hint("inv status shows the clone; inv chaos.heal waits for it")


@task(help={"node": "a Postgres node"})
def fill(c, node=""):
    """The disk is full: the node gets a small disk of its own first, this host's is not filled.

    Example: inv chaos.fill --node pg1-node1
    """
    with changing(c, "chaos.fill") as (project, progress):
        entries = disks.fill(project, node, progress)
    _tell(entries)


@task(help={"dc": "the site that is far away, such as dc2", "ms": "milliseconds the round trip grows by"})
def delay(c, dc="", ms="40"):
    """Latency between a site and the others, where the kernel can (netem).

    Example: inv chaos.delay --dc dc2 --ms 40
    """
    if not ms.isdigit():
        raise BadValue(f"--ms {ms} is not a number of milliseconds", "inv chaos.delay --dc dc2 --ms 40")
    with changing(c, "chaos.delay") as (project, _):
        entries = networks.delay(project, dc, int(ms))
    _tell(entries)


@task
def heal(c):
    """Bring back everything that chaos broke, also after a crash; returns when every member streams.

    Example: inv chaos.heal
    """
    with changing(c, "chaos.heal", during_restore=True) as (project, progress):
        # While a restore is half done members are held back: it has to go on before they stream.
        healed = healing.heal(project, progress, wait=not (read_restore(project) or read_upgrade(project)))
    for entry in healed.undone:
        console.show(f"healed: {entry}")
    for name in healed.revived:
        console.show(f"healed: {name} did not run")
    if not healed.undone and not healed.revived:
        console.show("nothing was broken")
    if healed.view:
        show_view("", project, healed.view)
