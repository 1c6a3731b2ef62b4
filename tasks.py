"""The verbs of the workbench. Each reads the settings, calls one use-case, and prints.

`inv --list` shows all, under the headings of this file and in its order.
"""

import os
import sys
from importlib.util import find_spec

from invoke import Collection, task

from pgha import ROOT, console
from pgha.backup import clones, verification
from pgha.backup.backups import read_info_text, run_backup, set_restore_point
from pgha.backup.reinit import reinit as make_again
from pgha.backup.restore_record import read_restore
from pgha.backup.stanza import create_stanza, read_info_json, require_repository
from pgha.backup.targets import Request
from pgha.cli import chaos, drill, program
from pgha.cli.changing import changing, telling_interrupts
from pgha.cli.configuring import change_config
from pgha.cli.executor import exit_with, parsed_json, project_of, require_host
from pgha.cli.recovering import recover_site
from pgha.cli.restoring import abort_restore, prepare, run_restore
from pgha.cli.rotating import end_rotation, plan_rotation, require_kind, rotate_what
from pgha.cli.show_backup import show_backup, show_clone, show_restore, show_schedule, show_verification, show_windows
from pgha.cli.show_certificates import show_certificates
from pgha.cli.show_changes import announce_scale, show_maintenance, show_replacement, show_scale
from pgha.cli.show_databases import show_databases, show_made
from pgha.cli.show_pausing import show_mode, show_remade
from pgha.cli.show_rollout import require_plan, show_restart, show_rollout
from pgha.cli.show_rotation import show_rotatable, show_rotated, show_rotation_plan
from pgha.cli.show_stack import show_images, show_parts, show_plan, show_topology
from pgha.cli.show_status import show_bundle, show_handover, show_survey, show_view
from pgha.cli.upgrading import Asked, plan_upgrade, run_upgrade
from pgha.cluster.clients import PSQL_LOST, Login, printed_string, psql_session, psql_stream, ssh_stream
from pgha.cluster.configuration import read_config
from pgha.cluster.databases import list_databases, make_database
from pgha.cluster.handover import hand_over
from pgha.cluster.pausing import set_paused
from pgha.cluster.restart import prepare as prepare_restart
from pgha.cluster.restart import restart as restart_members
from pgha.console import Progress
from pgha.errors import BadValue, NotReady, ToolFailed
from pgha.failures.aims import targets
from pgha.model.plan import make_plan, plan_document
from pgha.model.topology import build_topology
from pgha.model.words import counted
from pgha.project.certificates import ensure_certificates
from pgha.project.keys import ensure_keys
from pgha.remote import shell
from pgha.remote.connections import connect
from pgha.remote.streams import has_terminal
from pgha.stack import crontab, host, images, lifecycle, maintenance, removal, replacing, reshaping, scaling
from pgha.stack.writing import render_project
from pgha.status import survey
from pgha.status.bundle import write_bundle
from pgha.status.document import survey_document, view_document
from pgha.tools.command import Command

# The host and the images ------------------------------------------------------------------------------------


@task(help={"check": "only report what lacks"})
def setup(c, check=False):
    """Make this host ready: engine, Compose, a way to get the base image.

    Example: inv setup
    """
    project = project_of(c, by_settings=True)
    if check:
        parts = host.check_host(project)
        show_parts(parts)
        if any(part.problem for part in parts):
            raise NotReady("This host is not ready", "inv setup")
        return
    with telling_interrupts("setup"):
        parts, done = host.set_up(project, Progress())
    show_parts(parts)
    console.show(*(done or ["nothing to do"]))


@task(name="keys", help={"rotate": "replace every key and certificate", "yes": "do not ask"})
def keys_(c, rotate=False, yes=False):
    """Create the SSH keys and known_hosts under ssh/, and the certificates under tls/.

    Example: inv keys
    """
    with changing(c, "keys", during_restore=True, any_checkout=True) as (project, progress):
        if rotate:
            console.confirm(f"Replace every SSH key and certificate of project {project.name}?", yes)
        keys, issued = ensure_keys(project, rotate), ensure_certificates(project, rotate)
    console.show(f"{counted(len(keys.made), 'key')} made, {len(keys.kept)} kept in ssh/{project.name}/")
    if issued.made or issued.kept:
        console.show(f"{counted(len(issued.made), 'certificate')} made, {len(issued.kept)} kept in tls/{project.name}/")
    if rotate and project.rendered:
        progress.note("containers keep their old ones until the next: inv up")


@task(help={"no_cache": "build every layer again"})
def build(c, no_cache=False):
    """Build the images for etcd, Postgres with Patroni, and pgBackRest.

    Example: inv build
    """
    with changing(c, "build", during_restore=True, any_checkout=True) as (project, progress):
        built = images.build_images(project, progress, no_cache)
    show_images(built)


@task(
    help={
        "data_centers": "data centers",
        "per_data_center": "Postgres nodes per data center",
        "witness": "with a witness site",
        "no_witness": "without a witness site",
        "json": "one JSON document",
    }
)
def plan(c, data_centers="", per_data_center="", witness=False, no_witness=False, json=False):
    """Tell what a topology survives, without touching anything.

    Example: inv plan -d 2 -p 2 --no-witness
    """
    if witness and no_witness:
        raise BadValue("--witness and --no-witness contradict each other", "inv plan --witness")
    flags = {"data_centers": data_centers, "nodes": per_data_center}
    given = {key: value for key, value in flags.items() if value}
    project = project_of(c, given or None, by_settings=True)
    asked = True if witness else False if no_witness else None
    topology = build_topology(project.settings, asked)
    made = make_plan(project.settings, topology)
    if json:
        console.print_json(plan_document(made))
    else:
        shape = f"-d {project.settings.data_centers} -p {project.settings.nodes}"
        show_plan(shape + (" --witness" if witness else " --no-witness" if no_witness else ""), made)


# The stack --------------------------------------------------------------------------------------------------


@task(
    help={
        "data_centers": "data centers to simulate",
        "per_data_center": "Postgres nodes per data center",
        "name": "prefix of the node names",
        "version": "PostgreSQL major version",
    }
)
def render(c, data_centers="", per_data_center="", name="", version=""):
    """Write the compose file and every configuration to build/<project>/.

    The flags hold until the next render; what has no flag comes from the settings.

    Example: inv render -d 3 -p 2 -n pg -v 17
    """
    flags = {"data_centers": data_centers, "nodes": per_data_center, "prefix": name, "postgres": version}
    given = {key: value for key, value in flags.items() if value}
    with changing(c, "render", given, during_restore=True) as (project, _):
        report = render_project(project)
    show_topology(project, report)


@task(
    help={
        "take_over": "also when the project belongs to another checkout; from then on to this one",
        "at_once": "containers that are made again are so all at once; writes stop meanwhile",
        "plan": "only tell what would be done to whom",
        "json": "with --plan: one JSON document",
    }
)
def up(c, take_over=False, at_once=False, plan=False, json=False):
    """Create and start the stack; returns when every member streams.

    What runs and has to be made again, for other settings, files, keys or images, is made so one after another while
    clients write, the leader last by a switchover. The same command goes on after an interruption.

    Example: inv up --plan
    """
    if plan or json:
        require_plan(plan)
        project = project_of(c, by_settings=True)
        show_rollout(project, lifecycle.plan_up(project, at_once=at_once), json)
        return
    with changing(c, "up", any_checkout=take_over) as (project, progress):
        report = lifecycle.up(project, progress, take_over=take_over, at_once=at_once)
    show_view("", project, report.view)
    for note in report.notes:
        progress.note(note)
    console.show(f"{project.name} is up: every member streams after {report.seconds:.1f} s")


HOSTS = {
    "node": "only this host, such as pg1-node1, etcd2 or pgbackrest",
    "dc": "only the hosts of this site, such as dc2",
    "json": "one JSON document",
}


@task(help={**HOSTS, "degraded": "also when fewer standbys than promised would be left"})
def stop(c, node="", dc="", degraded=False, json=False):
    """Stop the containers and keep them; Patroni's leader hands over or shuts down cleanly.

    With --node or --dc for maintenance: the lead goes to a member that stays first. Refused when etcd's quorum or the
    promised standbys would go.

    Example: inv stop --node pg1-node1
    """
    some = bool(node or dc)
    with changing(c, "stop", during_restore=not some) as (project, progress):
        if some:
            hosts = targets(project, node, dc)
            show_maintenance(
                project, "stopped", maintenance.stop_hosts(project, hosts, progress, degraded=degraded), json
            )
            return
        lifecycle.stop(project, progress)
    console.show(f"{project.name} is stopped; inv start continues")


@task(help=HOSTS)
def start(c, node="", dc="", json=False):
    """Start stopped containers; returns when every member streams. Without --node or --dc it ends every maintenance.

    Example: inv start --dc dc2
    """
    with changing(c, "start") as (project, progress):
        if node or dc:
            report = maintenance.start_hosts(project, targets(project, node, dc), progress)
            show_maintenance(project, "started", report, json)
            return
        view = lifecycle.start(project, progress)
    console.print_json(view_document(view)) if json else show_view("", project, view)


@task
def down(c):
    """Remove containers and networks; every volume stays, and the next up has all data.

    Example: inv down
    """
    with changing(c, "down", during_restore=True) as (project, progress):
        removal.down(project, progress)
    console.show(f"{project.name} is down; its volumes are kept")


@task(
    help={
        "yes": "do not ask",
        "keep_repository": "keep the backups, and the passwords they need",
        "take_over": "also when the project belongs to another checkout",
    }
)
def destroy(c, yes=False, keep_repository=False, take_over=False):
    """Remove containers, networks, volumes with all data and backups, and the rendered files.

    Example: inv destroy --yes
    """
    what = "all its data, but not its backups" if keep_repository else "all its data and backups"
    with changing(c, "destroy", during_restore=True, any_checkout=take_over) as (project, progress):
        console.confirm(f"Destroy project {project.name} with {what}?", yes)
        removed = removal.destroy(project, progress, keep_repository=keep_repository)
    console.show(f"{project.name}: removed {', '.join(removed) or 'nothing, there was nothing'}")
    if keep_repository:
        console.show("its repository and its passwords are kept; inv up restore brings the data back")
    kept = [folder for folder in (project.keys_folder, project.certificates_folder) if folder.exists()]
    if kept:
        console.show(f"its keys stay in {' and '.join(f'{project.relative(folder)}/' for folder in kept)}")
    if project.reports.exists():
        console.show(f"its drills' reports stay in {project.relative(project.reports)}/")


# The cluster ------------------------------------------------------------------------------------------------


@task(help={"json": "one JSON document"})
def status(c, json=False):
    """Show members, etcd, backups and ports on one screen.

    Example: inv status
    """
    project = project_of(c)
    seen = survey.take(project)
    if json:
        console.print_json(survey_document(project, seen))
    else:
        show_survey(project, seen)


@task(
    help={
        "probe": "write all the time to a table of its own, which is dropped at the end, and show what is acknowledged",
        "web": "also as a page for a browser on this host",
        "port": "the page's port",
        "json": "one JSON object a change",
    }
)
def watch(c, probe=False, web=False, port="", json=False):
    """Show status live until Ctrl-C, with each change; without a terminal print one line a change.

    Example: inv watch --probe
    """
    from pgha.cli.watching import watch_project

    watch_project(lambda: project_of(c), probe, web, port, json)


@task(
    help={
        "node": "one member; all when left out",
        "pending": "only members that wait for it",
        "plan": "only tell what would be done to whom",
        "json": "one JSON document",
    }
)
def restart(c, node="", pending=False, plan=False, json=False):
    """Restart Postgres, one member after another, while clients write; the leader last, after a switchover.

    The same command goes on after an interruption.

    Example: inv restart --pending
    """
    if plan:
        project = project_of(c)
        show_rollout(project, prepare_restart(project, node, pending, maintenance.names_stopped(project)).plan, json)
        return
    with changing(c, "restart") as (project, progress):
        prepared = prepare_restart(project, node, pending, maintenance.names_stopped(project))
        restarted = restart_members(project, prepared, progress)
    show_restart(project, restarted, json)


@task(
    help={
        "what": "passwords, keys, certificates or passphrase; what there is, and how old, when left out",
        "plan": "only tell what would be done to whom",
        "remove_old": "passphrase: remove the repository of the former one, with its backups",
        "abort": "passphrase: go back to the repository of the former one, and remove the new one",
        "yes": "do not ask before a repository is removed",
        "json": "one JSON document",
    }
)
def rotate(c, what="", plan=False, remove_old=False, abort=False, yes=False, json=False):
    """Replace the passwords, the SSH keys, the certificates or the repository's passphrase, while clients write.

    The old and the new ones hold meanwhile. The same command goes on after an interruption. Another passphrase is
    another repository; the former one stays until --remove-old.

    Example: inv rotate --what passwords
    """
    if not (what or remove_old or abort):
        show_rotatable(project_of(c), json)
        return
    require_kind(what, plan=plan, remove_old=remove_old, abort=abort)
    if plan:
        project = project_of(c)
        show_rotation_plan(project, plan_rotation(project, what), json)
        return
    with changing(c, "rotate") as (project, progress):
        if remove_old or abort:
            rotated = end_rotation(project, progress, abort, yes)
        else:
            rotated = rotate_what(project, what, progress)
    show_rotated(project, rotated, json)


@task(help={"json": "one JSON document"})
def certificates(c, json=False):
    """Show the certificates of the project: whose, until when, and for which names.

    Example: inv certificates
    """
    show_certificates(project_of(c), json)


@task(help={"candidate": "the member to put in charge"})
def failover(c, candidate=""):
    """Put a member in charge: a switchover while the leader is healthy, else a failover.

    Example: inv failover --candidate pg1-node1
    """
    if not candidate:
        raise BadValue("failover needs a candidate", "inv failover --candidate <name>, or inv switchover")
    with changing(c, "failover") as (project, progress):
        handover = hand_over(project, candidate, progress)
    show_handover(project, handover)


@task(help={"candidate": "the member to put in charge; Patroni chooses when left out"})
def switchover(c, candidate=""):
    """Let a healthy leader hand over.

    Example: inv switchover
    """
    with changing(c, "switchover") as (project, progress):
        handover = hand_over(project, candidate, progress, only_switchover=True)
    show_handover(project, handover)


@task(
    help={
        "data_centers": "data centers",
        "per_data_center": "Postgres nodes per data center",
        "yes": "do not ask before hosts are removed with their data",
        "json": "one JSON document",
    }
)
def scale(c, data_centers="", per_data_center="", yes=False, json=False):
    """Give the running cluster more or fewer data centers and nodes, under load; etcd members follow.

    Without flags: the shape of the settings, or of a scale that was interrupted.

    Example: inv scale -d 3 -p 2
    """
    with changing(c, "scale") as (project, progress):
        checked = scaling.check(project, data_centers, per_data_center)
        announce_scale(checked, yes, json)
        show_scale(checked.target, reshaping.scale(checked, progress), json)


@task(
    help={
        "node": "a Postgres node, such as pg1-node2",
        "etcd": "an etcd member, such as etcd3",
        "degraded": "also when fewer standbys than promised would be left meanwhile",
        "yes": "do not ask",
        "json": "one JSON document",
    }
)
def replace(c, node="", etcd="", degraded=False, yes=False, json=False):
    """Make a host anew that is gone with its volume: taken out, an empty volume, cloned, streams. Not the leader.

    Example: inv replace --node pg1-node2
    """
    with changing(c, "replace") as (project, progress):
        checked = replacing.check(project, replacing.target(project, node, etcd), degraded=degraded)
        if not checked.half_done:
            console.confirm(f"Remove the container and the volume of {checked.host.name}, and make both anew?", yes)
        show_replacement(project, replacing.replace_host(project, checked, progress), json)


@task(
    help={
        "site_lost": "sites are gone for good, and etcd has no quorum",
        "accept_data_loss": "what may be lost, as said without this flag",
        "json": "one JSON document",
    }
)
def recover(c, site_lost=False, accept_data_loss=False, json=False):
    """Make the cluster again from what is left; without --accept-data-loss only tell what is left and may be lost.

    Example: inv recover --site-lost
    """
    if not site_lost:
        raise BadValue("What has to be recovered from is not said", "inv recover --site-lost")
    with changing(c, "recover") as (project, progress):
        recover_site(project, accept_data_loss, json, progress)


@task(
    help={
        "minor": "the newest packages of the same major version",
        "major": "this major version of PostgreSQL; writes stop meanwhile",
        "plan": "only tell what would be done to whom",
        "abort": "bring the old cluster back while a major upgrade is half done",
        "drop_slots": "also when logical slots are lost with a major upgrade",
        "yes": "do not ask",
        "json": "one JSON document",
    }
)
def upgrade(c, minor=False, major="", plan=False, abort=False, drop_slots=False, yes=False, json=False):
    """Upgrade to the newest packages, one container after another, as up does; or to another major, by pg_upgrade.

    The same command goes on after an interruption.

    Example: inv upgrade --minor --plan
    """
    asked = Asked(minor, major, abort, drop_slots)
    if plan:
        plan_upgrade(project_of(c, by_settings=True), asked, json)
        return
    with changing(c, "upgrade") as (project, progress):
        run_upgrade(project, asked, progress, yes, json)


@task(help={"json": "one JSON document"})
def pause(c, json=False):
    """Begin maintenance mode: Patroni promotes nobody and starts no Postgres until inv resume.

    Example: inv pause
    """
    with changing(c, "pause") as (project, progress):
        mode = set_paused(project, True, progress)
    show_mode(project, mode, json)


@task(help={"json": "one JSON document"})
def resume(c, json=False):
    """End maintenance mode.

    Example: inv resume
    """
    with changing(c, "resume") as (project, progress):
        mode = set_paused(project, False, progress)
    show_mode(project, mode, json)


@task(
    help={
        "node": "the replica",
        "from_": "leader or repository; the first that can give it when left out",
        "json": "one JSON document",
    }
)
def reinit(c, node="", from_="", json=False):
    """Make a replica again (patronictl reinit); returns when it streams.

    Example: inv reinit --node pg1-node2
    """
    with changing(c, "reinit") as (project, progress):
        remade = make_again(project, node, from_, progress)
    show_remade(project, remade, json)


@task(
    iterable=["set", "unset"],
    help={
        "set": "a key and its value, as patronictl takes them; may be given again",
        "unset": "a key to take out; may be given again",
        "yes": "do not ask",
        "json": "one JSON document",
    },
)
def config(c, set=None, unset=None, yes=False, json=False):
    """Show the dynamic configuration (patronictl show-config), or change it.

    Example: inv config --set postgresql.parameters.work_mem=8MB
    """
    if set or unset:
        with changing(c, "config") as (project, progress):
            change_config(project, set, unset, yes, json, progress)
        return
    document = read_config(project_of(c))
    console.print_json(document) if json else console.print_yaml(document)


@task(
    help={
        "name": "the database; a list of all when left out",
        "owner": "the role that owns it; of the same name when left out",
        "json": "one JSON document",
    }
)
def database(c, name="", owner="", json=False):
    """Make a database with a role and a password of its own, or list what there is.

    Example: inv database --name app
    """
    if owner and not name:
        raise BadValue("--owner needs a database", f"inv database --name <name> --owner {owner}")
    if not name:
        show_databases(list_databases(project_of(c)), json)
        return
    with changing(c, "database") as (project, progress):
        made = make_database(project, name, owner, progress)
    show_made(project, made, json)


# Backups ----------------------------------------------------------------------------------------------------


@task
def stanza(c):
    """Create the stanza, switch archiving on, and check that WAL arrives in the repository.

    Example: inv stanza
    """
    with changing(c, "stanza") as (project, progress):
        report = create_stanza(project, progress)
    for change in report.changes:
        console.show(change)
    made = "created" if report.created else "was there"
    console.show(f"stanza {made}, {report.leader} archives, pgbackrest check passed")


@task(help={"type": "full, diff or incr"})
def backup(c, type="full"):
    """Take a backup.

    Example: inv backup --type diff
    """
    with changing(c, "backup") as (project, progress):
        made = run_backup(project, type, progress)
    show_backup(made, type)


@task(help={"json": "pgBackRest's own JSON"})
def info(c, json=False):
    """Show the backups (pgbackrest info), and the window that can be restored.

    Example: inv info
    """
    project = project_of(c)
    told = read_info_json(project)
    if json:
        console.print_json(parsed_json(told, "pgbackrest info"))
        return
    console.print_text(read_info_text(project))
    show_windows(project)


POINT = {
    "time": "ISO 8601, with or without a zone",
    "lsn": "a position in WAL",
    "xid": "the end of a transaction",
    "name": "a restore point",
    "set": "a backup; alone: as that backup left it",
    "timeline": "the history to follow; the cluster's own when left out",
}


@task(help={**POINT, "yes": "do not ask", "abort": "bring the old cluster back while a restore is half done"})
def restore(c, time="", lsn="", xid="", name="", set="", timeline="", yes=False, abort=False):
    """Take the whole cluster to a point in time; without one, to the end of the archive.

    Example: inv restore --time "2026-11-23 08:30:00Z"
    """
    request = Request(time, lsn, xid, name, set, timeline)
    with changing(c, "restore", during_restore=True) as (project, _):
        half_done = read_restore(project)
        if abort:
            abort_restore(project, half_done, yes)
        else:
            show_restore(run_restore(project, request, half_done, yes))


@task(name="restore-point", help={"name": "what `inv restore --name` will call it"})
def restore_point(c, name=""):
    """Set a named restore point on the leader.

    Example: inv restore-point --name before_migration
    """
    with changing(c, "restore-point") as (project, progress):
        console.show(set_restore_point(project, name, progress))


@task(help={**POINT, "port": "published port of the clone", "remove": "remove the clone with its data"})
def clone(c, time="", lsn="", xid="", name="", set="", timeline="", port="", remove=False):
    """Recover into a throwaway container beside the cluster: for "that one table, please".

    Example: inv clone --time "2026-11-23 08:30:00Z"
    """
    request = Request(time, lsn, xid, name, set, timeline)
    if port and not (port.isascii() and port.isdigit() and 1024 <= int(port) <= 65535):
        raise BadValue(f"--port {port} is not a port between 1024 and 65535", "inv clone --port 50700")
    with changing(c, "clone", during_restore=remove) as (project, progress):
        if remove:
            removed = clones.remove(project)
            console.show("the clone is removed" if removed else "there was no clone")
            return
        clones.require_up(project)
        made = clones.make(project, prepare(project, request, progress), int(port or 0), progress)
    show_clone(project, request, made)


@task(help={"set": "the backup to verify; the newest when left out"})
def verify(c, set=""):
    """Check the repository's files, then restore a backup for real and look whether it is good.

    Example: inv verify
    """
    with changing(c, "verify") as (project, progress):
        show_verification(verification.verify(project, set, progress))


@task(help={"show": "only show it", "off": "stop it"})
def schedule(c, show=False, off=False):
    """Let cron inside the containers take and verify the backups, at the times in the settings.

    Example: inv schedule
    """
    project = project_of(c)
    require_repository(project)
    running = lifecycle.running(project)
    if not show:
        with changing(c, "schedule"):
            crontab.switch(project, on=not off)
            render_project(project)
            crontab.install(project, running)
    results = verification.read_kept(project).results if running else {}
    show_schedule(crontab.running(project) if running else crontab.jobs(project), results)


# Clients and hosts ------------------------------------------------------------------------------------------


@task(
    help={
        "standby": "a random standby instead of the leader",
        "inside": "for use inside the network",
        "user": "who connects",
        "dbname": "the database",
        "address": "what other machines call this host",
    }
)
def dsn(c, standby=False, inside=False, user="postgres", dbname="postgres", address=""):
    """Print the libpq connection string of the whole cluster.

    Example: psql "$(inv dsn)"
    """
    login = Login(user, dbname, inside, address)
    string, notes = printed_string(project_of(c), login, standby=standby)
    console.print_text(string)
    for note in notes:
        Progress().note(note)


@task(help={"standby": "a random standby instead of the leader", "command": "SQL to run instead of a session"})
def psql(c, standby=False, command=""):
    """Open psql on the leader, wherever it is; without a terminal it runs the SQL it is given: inv psql < file.sql

    Example: inv psql --command "select inet_server_addr()"
    """
    project = project_of(c)
    if command:
        code = psql_stream(project, standby=standby, sql=command)
        if code:
            hint = "inv status tells whether somebody leads" if code == PSQL_LOST else ""
            raise ToolFailed(f"psql ended with exit code {code}", hint=hint)
    else:
        exit_with((psql_session if has_terminal() else psql_stream)(project, standby=standby))


@task(help={"node": "a host, such as pg1-node1 or pgbackrest", "command": "a command instead of a shell"})
def ssh(c, node="", command=""):
    """Open a shell on a host, or run a command there, as postgres; without a terminal: inv ssh --node X < script

    Example: inv ssh --node pg1-node1 --command "patronictl list"
    """
    project = project_of(c)
    require_host(project, node, project.topology.ssh_hosts, "inv ssh --node <name>")
    if command:
        code = ssh_stream(project, node, command)
        if code:
            raise ToolFailed(f"The command ended with exit code {code} on {node}")
    elif has_terminal():
        exit_with(connect(project).interactive(node, None))
    else:
        exit_with(ssh_stream(project, node, ""))


@task(
    help={
        "node": "a host; all when left out",
        "follow": "until Ctrl-C",
        "tail": "lines to begin with",
        "job": "what a scheduled job said when it ran last",
    }
)
def logs(c, node="", follow=False, tail="100", job=""):
    """Show the log of a container, or of a scheduled job.

    Example: inv logs --node pg1-node1 --follow
    """
    project = project_of(c)
    if job:
        console.print_text(crontab.read_log(project, job))
        return
    if node:
        require_host(project, node, project.topology.hosts, "inv logs --node <name>")
    if not tail.isdigit():
        raise BadValue(f"--tail {tail} is not a number of lines", "inv logs --tail 100")
    code = lifecycle.show_logs(project, node, follow=follow, tail=int(tail))
    if code:
        raise ToolFailed(f"docker logs ended with exit code {code}", hint="inv status")


@task(help={"tail": "lines of each container's log", "json": "one JSON document"})
def report(c, tail="1000", json=False):
    """Write a bundle for a colleague: status, plan, configuration, logs, statistics and versions, without secrets.

    Example: inv report
    """
    if not tail.isdigit():
        raise BadValue(f"--tail {tail} is not a number of lines", "inv report --tail 1000")
    project = project_of(c)
    show_bundle(project, write_bundle(project, int(tail), Progress()), json)


# The project itself -----------------------------------------------------------------------------------------


@task(
    help={
        "all": "every case, also the long ones; more than an hour",
        "long": "only the long ones, which a plain run leaves out",
        "unit": "only the fast tests, which need no engine",
        "runbooks": "play every runbook of docs/runbooks/, on real stacks",
        "module": "only tests/*/test_<module>.py",
        "k": "only tests whose name matches",
        "keep": "end at the first failure and keep its stacks",
    }
)
def test(c, all=False, long=False, unit=False, runbooks=False, module="", k="", keep=False):
    """Run the test suite; without --unit on real containers.

    Example: inv test --module chaos --keep
    """
    lacking = [
        name for name in ("pytest", "pytest_timeout", "xdist", "psycopg", "markdown_it") if find_spec(name) is None
    ]
    if lacking:
        raise NotReady(f"The tests need more than is installed: {', '.join(lacking)}", "pip install -e '.[test]'")
    places = [ROOT / "tests"]
    if module:
        places = sorted(places[0].rglob(f"test_{module}.py"))
        if not places:
            raise BadValue(f"There is no test_{module}.py in tests/", "ls tests/integration/test_*.py")
    elif runbooks:
        places = sorted(places[0].glob("integration/test_runbooks*.py"))
    if unit:
        marks = "not integration and not long"
    elif long:
        marks = "long"
    else:
        marks = "" if all or runbooks else "not long"
    # Groups of modules run side by side, each with stacks of its own; a choice of them needs no helpers.
    side_by_side = [] if unit or module or k else ["-n", "3", "--dist", "loadscope"]
    arguments = [sys.executable, "-m", "pytest", *map(str, places), *side_by_side]
    arguments += [*(["-m", marks] if marks else []), *(["-k", k] if k else []), *(["--keep"] if keep else [])]
    os.chdir(ROOT)
    exit_with(shell.attach(Command(tuple(arguments))))


namespace = Collection.from_module(sys.modules[__name__])
namespace.add_collection(Collection.from_module(chaos))
namespace.add_collection(Collection.from_module(drill))
program.install()
