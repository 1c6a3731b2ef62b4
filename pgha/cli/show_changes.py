"""Reports on changes of hosts: stopped for maintenance, started, replaced, more or fewer."""

from __future__ import annotations

from dataclasses import asdict

from pgha import console
from pgha.cli.show_stack import show_plan
from pgha.cli.show_status import show_change
from pgha.model.plan import make_plan
from pgha.model.words import counted
from pgha.project.project import Project
from pgha.stack import replacing, scaling
from pgha.stack.maintenance import Report
from pgha.status.document import etcd_document, view_document


def show_maintenance(project: Project, done: str, report: Report, json: bool) -> None:
    """What `stop` or `start` of some hosts did; `done` is the word for it."""
    if json:
        console.print_json(_document(done, report))
        return
    show_change(project, report.before, report.after)
    moved = report.handover
    if moved:
        console.show(f"{moved.verb} {moved.old} -> {moved.new}: leads after {moved.leader_seconds:.1f} s")
    console.show(_etcd(report))
    for host in report.hosts:
        if host not in report.changed:
            console.show(f"{host} was {'stopped for maintenance already' if done == 'stopped' else 'running already'}")
    if report.changed:
        console.show(f"{done} after {report.seconds:.1f} s: {', '.join(report.changed)}")
    if done == "stopped":
        console.hint(f"inv start {_flag(project, report)} when it is done")


AnyReport = Report | replacing.Report | scaling.Report


def _etcd(report: AnyReport) -> str:
    etcd = report.etcd
    return f"etcd: {len(etcd.healthy)} of {etcd.members} healthy, {etcd.may_fail} more may fail"


def _flag(project: Project, report: Report) -> str:
    """What means these hosts."""
    if len(report.hosts) == 1:
        return f"--node {report.hosts[0]}"
    return f"--dc {next(host.site.name for host in project.topology.hosts if host.name in report.hosts)}"


def _document(done: str, report: Report) -> dict[str, object]:
    return {
        done: list(report.hosts),
        "changed": list(report.changed),
        "switchover": {"from": report.handover.old, "to": report.handover.new} if report.handover else None,
        "before": view_document(report.before) if report.before else None,
        "after": view_document(report.after),
        "etcd": etcd_document(report.etcd),
        "seconds": round(report.seconds, 1),
    }


def show_replacement(project: Project, report: replacing.Report, json: bool) -> None:
    """What `replace` did."""
    if json:
        console.print_json(
            {
                "replaced": report.host,
                "method": report.method or None,
                "before": view_document(report.before),
                "after": view_document(report.after),
                "etcd": etcd_document(report.etcd),
                "seconds": round(report.seconds, 1),
            }
        )
        return
    show_change(project, report.before, report.after)
    console.show(_etcd(report))
    made = f", made by {report.method}" if report.method else ""
    console.show(f"{report.host} is replaced after {report.seconds:.1f} s{made}")


def announce_scale(checked: scaling.Checked, yes: bool, json: bool) -> None:
    """What the new shape survives, what happens to whom, and the question before data is removed.

    Raises BadValue when the answer is no.
    """
    target, change = checked.target, checked.change
    settings = target.settings
    if not json:
        of = f"{counted(settings.data_centers, 'data center')} of {counted(settings.nodes, 'node')}"
        title = f"{target.name} with {of}"
        show_plan(title, make_plan(settings, target.topology))
        console.show(*_lines(change))
    removed = [*change.remove, *change.anew]
    if removed:
        console.confirm(f"Remove {', '.join(removed)} with all data in their volumes?", yes)


def _lines(change: scaling.Change) -> list[str]:
    named = {
        "made anew, after what is left of them is removed": change.anew,
        "new": [host for host in change.create if host not in change.anew],
        "at another site, one after another": change.move,
        "made again, one after another, the leader last": change.again,
        "removed with their data": change.remove,
    }
    return [f"{what}: {', '.join(hosts)}" for what, hosts in named.items() if hosts] or ["no host comes or goes"]


def show_scale(project: Project, report: scaling.Report, json: bool) -> None:
    """What `scale` did."""
    if json:
        console.print_json(
            {
                "data_centers": project.settings.data_centers,
                "nodes": project.settings.nodes,
                **asdict(report.change),
                "before": view_document(report.before),
                "after": view_document(report.after),
                "etcd": etcd_document(report.etcd),
                "dynamic_configuration": list(report.notes),
                "seconds": round(report.seconds, 1),
            }
        )
        return
    show_change(project, report.before, report.after)
    console.show(_etcd(report), *report.notes)
    console.show(f"{project.name} has its new shape after {report.seconds:.1f} s")
    if report.change.create or report.change.remove:
        console.hint("clients need the string of these nodes: inv dsn")
