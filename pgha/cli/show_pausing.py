"""Reports on pauses, and on members that were made again."""

from __future__ import annotations

from pgha import console
from pgha.backup.reinit import Remade
from pgha.cli.show_status import show_change, show_view
from pgha.cluster.pausing import Mode
from pgha.project.project import Project


def show_mode(project: Project, mode: Mode, json: bool) -> None:
    """What `pause` and `resume` did."""
    if json:
        console.print_json({
            "paused": mode.paused,
            "was_paused": mode.was,
            "knowing": list(mode.knowing),
            "unaware": dict(mode.unaware),
        })  # fmt: skip
    else:
        show_view("", project, mode.view)
        already = "already " if mode.was == mode.paused else ""
        word = "paused (maintenance mode): nobody is promoted, and no Postgres is started"
        console.show(f"the cluster is {already}{word}" if mode.paused else f"the cluster is {already}not paused")
    for name, why in mode.unaware.items():
        console.err().print(f"{name} learns it when it is back: {why.splitlines()[0]}", markup=False)
    if mode.paused:
        console.hint("inv resume")
    elif mode.view.leader is None:
        console.hint("inv status: there is no leader yet")


def show_remade(project: Project, remade: Remade, json: bool) -> None:
    """What `reinit` did."""
    if json:
        document = {"node": remade.node, "from": remade.source, "method": remade.method, "seconds": remade.seconds}
        console.print_json({**document, "seconds": round(remade.seconds, 1)})
        return
    show_change(project, remade.before, remade.after)
    console.show(
        f"{remade.node} was made again from the {remade.source} ({remade.method}) and streams after "
        f"{remade.seconds:.1f} s"
    )
