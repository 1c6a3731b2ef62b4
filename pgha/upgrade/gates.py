"""Whether a cluster can be upgraded to another major: all of it is looked at before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pgha.backup.stanza import read_stanza, require_repository_reaches
from pgha.cluster.gates import require_open
from pgha.cluster.rollout_record import describe_rollout, read_rollout
from pgha.cluster.view import node_names, require_leader
from pgha.errors import BadSettings, BadValue, HalfDone, NoRoom, NoStanza, NotUp, PghaError, ToolFailed, Unhealthy
from pgha.model import rules
from pgha.model.releases import MAJORS
from pgha.model.words import size_text
from pgha.project.project import Project
from pgha.project.running import as_it_runs
from pgha.project.upgrade_record import Record
from pgha.remote import engine
from pgha.remote.asking import ask_postgres
from pgha.remote.connections import connect
from pgha.remote.engine import HERE
from pgha.stack.maintenance import require_undisturbed
from pgha.tools import pg_upgrade, postgres
from pgha.tools.command import Answer
from pgha.tools.pg_upgrade import Facts, kept_names

SPARE = 256 << 20
"""Bytes of a volume that stay free, for WAL."""

CATALOGS = 32 << 20
"""Bytes of new catalogs a database; with links nothing else is written anew."""

SLOTS = 'docs/upgrade.md, "Logical slots"'


@dataclass(frozen=True)
class Checked:
    """An upgrade that can begin."""

    runs: Project
    target: Project
    leader: str
    facts: Facts
    extensions: dict[str, tuple[str, ...]]
    """extension -> its databases"""

    @property
    def old(self) -> int:
        return self.runs.settings.postgres

    @property
    def new(self) -> int:
        return self.target.settings.postgres


def wanted(text: str) -> int:
    """The major of --major. Raises BadValue."""
    if not text.isdigit() or int(text) not in MAJORS:
        raise BadValue(f"{text} is not a supported major version", f"one of {', '.join(map(str, MAJORS))}")
    return int(text)


def of_major(project: Project, major: int, flags: dict[str, str]) -> Project:
    """The project with another major version, and the flags of `inv render` that it has then.

    Raises BadSettings when the settings do not go with it."""
    settings = replace(project.settings, postgres=major)
    wrong = rules.find_wrong(settings)
    if wrong:
        raise BadSettings(wrong)
    return replace(project, settings=settings, flags=flags, running=None)


def projects(project: Project, record: Record) -> tuple[Project, Project]:
    """The project as it was, and as it will be."""
    new = {**record.flags, "postgres": str(record.new)}
    return of_major(project, record.old, record.flags), of_major(project, record.new, new)


def check(project: Project, major: int, *, drop_slots: bool) -> Checked | None:
    """Look at everything; nothing is touched. None when the cluster is of this major already.

    `project` is as the settings say, and they may name the new major already. The caller holds the lock. Raises what is
    in the way: BadValue, NotUp, HalfDone, Unhealthy, NoRoom, NoStanza, Parted, and whatever a rollout is refused with.
    """
    if project.topology.machines:
        raise BadValue(
            "Among several machines there is no major upgrade yet: pg_upgrade reads files of this host",
            "docs/machines.md",
        )
    engine.require_engine(project)
    seen = as_it_runs(project)
    if seen.running is None:
        raise NotUp(f"Project {project.name} is not up", "inv up")
    old = seen.settings.postgres
    if major == old:
        return None
    if major < old:
        raise BadValue(f"Project {project.name} runs PostgreSQL {old}, and there is no way back to {major}", "inv info")
    others = {key: words for key, words in seen.running.differs.items() if key != "postgres"}
    if others:
        raise Unhealthy(
            f"The settings differ from what runs: {'; '.join(others.values())}", "inv up applies them first"
        )
    flags = {**project.flags, "postgres": str(old)} if "postgres" in project.flags else project.flags
    runs = of_major(project, old, flags)
    target = of_major(project, major, {**flags, "postgres": str(major)})
    _require_undisturbed(runs)
    names = node_names(runs)
    require_open(runs, names)
    leader = require_leader(runs).name
    _require_repository(runs, leader)
    facts = read_facts(runs, leader)
    require_upgradable(facts, leader, major, drop_slots=drop_slots)
    _require_room(runs, leader, facts)
    answer = connect(runs).must(leader, pg_upgrade.extensions(), "The extensions cannot be listed")
    return Checked(runs, target, leader, facts, pg_upgrade.parse_extensions(answer.stdout))


def _require_undisturbed(project: Project) -> None:
    containers = engine.containers(project)
    require_undisturbed(project, containers)
    still = [host.name for host in project.topology.hosts if _state(containers.get(host.name)) != "running"]
    if still:
        raise Unhealthy(f"Not every container runs: {', '.join(still)}", "inv up")
    if project.record().replacing:
        raise HalfDone(f"{project.record().replacing} is being replaced, and not whole again", "inv replace")
    rollout = read_rollout(project)
    if rollout:
        sentence = describe_rollout(rollout)
        raise HalfDone(sentence[0].upper() + sentence[1:], f"{rollout.command} goes on with it")


def _state(container: object) -> str:
    return str(getattr(container, "state", "missing"))


def _require_repository(project: Project, leader: str) -> None:
    """There has to be a place for the backups before and after; none where the project runs without one."""
    if project.topology.repository is None:
        return
    require_repository_reaches(project, leader, "no backup could be taken before the upgrade")
    if read_stanza(project).missing:
        raise NoStanza("There is no stanza yet, and an upgrade begins with a backup", "inv stanza")


def read_facts(project: Project, leader: str) -> Facts:
    """What the leader says of itself."""
    return pg_upgrade.parse_facts(ask_postgres(connect(project), leader, postgres.query(pg_upgrade.FACTS, timeout=60)))


def require_upgradable(facts: Facts, leader: str, major: int, *, drop_slots: bool) -> None:
    """Raises Unhealthy for what pg_upgrade refuses, and for logical slots that would be lost."""
    if facts.prepared:
        end = f"inv psql --command \"rollback prepared '{facts.prepared[0]}'\""
        raise Unhealthy(
            f"{leader} has prepared transactions, and pg_upgrade refuses them: {kept_names(facts.prepared)}",
            f"commit them, or give them up: {end}",
        )
    if facts.unusable:
        raise Unhealthy(
            f"pg_upgrade has to connect to every database, and cannot to {kept_names(facts.unusable)}",
            f"drop it, or: inv psql --command 'alter database \"{facts.unusable[0]}\" allow_connections true'",
        )
    if facts.slots and not drop_slots:
        raise Unhealthy(
            f"These logical slots would be lost, and their consumers their place: {kept_names(facts.slots)}",
            f"inv upgrade --major {major} --drop-slots gives them up; {SLOTS}",
        )


def _require_room(project: Project, leader: str, facts: Facts) -> None:
    """On the leader for new catalogs; on every other one for the whole, its old data gone."""
    data = postgres.data_dir(project.settings.postgres)
    answers = connect(project).everywhere({name: postgres.room(data) for name in node_names(project)})
    for name, answer in answers.items():
        if isinstance(answer, PghaError):
            raise answer
        free, used = postgres.parse_room(answer.stdout)
        needed = SPARE + (CATALOGS * len(facts.databases) if name == leader else facts.size)
        there = free if name == leader else free + used
        if there < needed:
            raise NoRoom(f"{name} has room for {size_text(there)}, the upgrade needs {size_text(needed)}", "inv status")


def is_built(checked: Checked) -> bool:
    """Whether the new major's image is there, so that its extensions can be looked at."""
    return HERE.has_image(checked.target.settings.release.patroni_image)


def require_extensions(checked: Checked) -> None:
    """Raises Unhealthy for an extension that the new image lacks, ToolFailed when that cannot be seen."""
    image = checked.target.settings.release.patroni_image
    answer = HERE.run(pg_upgrade.offered(image, checked.new))
    if not isinstance(answer, Answer) or not answer.ok:
        raise ToolFailed(f"The extensions of {image} cannot be listed", answer.words)
    lacking = lacking_extensions(checked.extensions, pg_upgrade.parse_offered(answer.stdout))
    if lacking:
        name, databases = next(iter(lacking.items()))
        raise Unhealthy(
            f"{image} lacks the extension {name} of the database {kept_names(databases)}"
            + (f", and {len(lacking) - 1} more" if len(lacking) > 1 else ""),
            f"drop it, or add its package to images/patroni/Dockerfile: psql -c 'drop extension \"{name}\"'",
        )


def lacking_extensions(used: dict[str, tuple[str, ...]], offered: set[str]) -> dict[str, tuple[str, ...]]:
    """Those in use that are not offered."""
    return {name: databases for name, databases in used.items() if name not in offered}
