"""Reports on databases."""

from __future__ import annotations

from pgha import console
from pgha.cluster.databases import Listed, Made
from pgha.model.words import size_text
from pgha.project.project import Project


def show_databases(listed: tuple[Listed, ...], json: bool) -> None:
    """Every database, with its owner."""
    if json:
        console.print_json({
            "databases": [
                {
                    "name": entry.database.name,
                    "owner": entry.database.owner,
                    "size_bytes": entry.database.size,
                    "clients": entry.database.clients,
                    "open_to_every_role": entry.database.open,
                    "password_known": entry.known,
                }
                for entry in listed
            ]
        })  # fmt: skip
        return
    rows = []
    for entry in listed:
        d = entry.database
        everyone = "every role" if d.open else d.owner
        rows.append((d.name, d.owner, size_text(d.size), d.clients, everyone, "yes" if entry.known else ""))
    columns = ("Database", "Owner", "Size", "Clients", "May connect", "Password known here")
    console.show(console.table("", columns, rows))


def show_made(project: Project, made: Made, json: bool) -> None:
    """What `database` made, and how its application connects."""
    if json:
        console.print_json({"name": made.name, "owner": made.owner, "done": list(made.done), "dsn": made.dsn})
        return
    console.show(*(made.done or [f"the database {made.name} of {made.owner} is as it should be"]))
    console.show(f'connect with: psql "$(inv dsn --user {made.owner} --dbname {made.name})"')
    console.show(f"the password of {made.owner} is in {project.relative(project.role_pgpass)}")
