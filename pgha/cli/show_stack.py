"""Reports on the host, the images, the topology and the plan."""

from __future__ import annotations

from pgha import console
from pgha.model.plan import Outage, Plan
from pgha.model.words import counted
from pgha.project.ports import LOOPBACK
from pgha.project.project import Project
from pgha.stack.host import Part
from pgha.stack.images import Built
from pgha.stack.writing import RenderReport


def show_parts(parts: list[Part]) -> None:
    rows = [(part.name, _state(part), part.problem or part.found) for part in parts]
    console.show(console.table("", ("Part", "State", ""), rows))


def _state(part: Part) -> str:
    if part.optional:
        return "not here"
    return "lacks" if part.problem else "ok"


def show_images(built: list[Built]) -> None:
    console.show(console.table("", ("Image", "Size"), [(b.name, f"{b.size / 1e6:.0f}MB") for b in built]))


def show_topology(project: Project, report: RenderReport) -> None:
    topology, rows = project.topology, []
    for host in topology.hosts:
        place = (host.site.name, host.machine.name) if host.machine else (host.site.name,)
        rows.append((host.name, *place, project.container(host.name),
                     report.ports["postgres"].get(host.name, ""), report.ports["ssh"].get(host.name, "")))  # fmt: skip
    places = ("Site", "Machine") if topology.machines else ("Site",)
    release = project.settings.release
    title = f"{project.name}: PostgreSQL {project.settings.postgres} on {release.base_image}"
    console.show(console.table(title, ("Host", *places, "Container", "Postgres port", "SSH port"), rows))
    console.show(f"etcd: {len(topology.etcd)} members, quorum {topology.etcd_quorum}. " + _durability_text(project))
    if topology.monitoring:
        ports = {name: report.ports[name][topology.monitoring.name] for name in ("prometheus", "alertmanager")}
        where = ", ".join(f"{name} http://{LOOPBACK}:{port}" for name, port in ports.items())
        console.show(f"monitoring: {where}")
    for line in report.moved:
        console.err().print(line, markup=False)
    folder = project.folder.relative_to(project.folder.parent.parent)
    console.err().print(
        f"{counted(len(report.changed), 'file')} written to {folder}/" if report.changed else f"{folder}/ is up to date"
    )


def _durability_text(project: Project) -> str:
    count = project.topology.synchronous_node_count
    if count == 0:
        return "Durability: one node, nothing to wait for."
    if project.settings.durability == "async":
        return "Durability: async, a failover may lose the newest commits."
    return f"Durability: a commit waits for {counted(count, 'standby')}."


def _outage(outage: Outage) -> str:
    if outage.longest is None:
        return "until somebody acts"
    return f"{outage.shortest:.0f} to {outage.longest:.0f} s"


def show_plan(title: str, plan: Plan) -> None:
    words = {True: "yes", False: "NO", None: "-"}
    rows = []
    for outcome in plan.outcomes:
        if outcome.kind in ("site", "machine", "two sites") or not outcome.survived:
            answers = (outcome.etcd_quorum, outcome.candidate, outcome.acknowledged_safe, outcome.backups)
            rows.append((outcome.loss, *(words[answer] for answer in answers), words[outcome.survived]))
    for kind in ("one node", "two nodes"):
        of_kind = [outcome for outcome in plan.outcomes if outcome.kind == kind]
        fine = sum(outcome.survived for outcome in of_kind)
        if of_kind:
            rows.append((f"any {kind}", "", "", "", "", f"{fine} of {len(of_kind)}"))
    columns = ("Lost", "etcd quorum", "Leader", "Acknowledged writes kept", "Backups reachable", "Survived")
    console.show(console.table(title, columns, rows))
    outages = [(o.failure, _outage(o), o.because) for o in plan.outages]
    console.show(console.table("Expected write outage", ("Failure", "Writes stop for", "Because"), outages))
    for warning in plan.warnings:
        console.show(f"! {warning}")
    console.show(*console.prose(plan.sentence))
