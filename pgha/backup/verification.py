"""A backup is not called good before it has been restored: `verify`, and what is known of earlier verifications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pgha.backup.catalogue import find_backup
from pgha.backup.stanza import read_stanza, require_repository_reaches
from pgha.cluster.view import node_names, read_view
from pgha.console import Progress
from pgha.errors import BackupNotGood, BackupUnchecked, BadValue, NoBackup, NoLeader
from pgha.model.topology import REPOSITORY
from pgha.project.project import Project
from pgha.project.repositories import in_use
from pgha.remote.connections import connect
from pgha.tools import cron, pgbackrest, space
from pgha.tools.command import Answer, Command


def verify(project: Project, label: str, progress: Progress) -> pgbackrest.Verification:
    """Check the repository's files, then restore a backup for real and look at it. The caller holds the lock.

    Raises BadValue for an unknown backup; BackupNotGood naming the damaged files, or with what the restored database
    lacked; BackupUnchecked when something else went wrong.
    """
    stanza = read_stanza(project)
    labels = [backup.label for backup in stanza.backups]
    if not labels:
        raise NoBackup("There is no backup to verify", "inv backup")
    repo = in_use(project)
    if label and label not in labels:
        former = find_backup(project, label)
        if former is None:
            raise BadValue(f"Backup {label} is not in the repository", f"one of {', '.join(labels)}")
        repo = former[1]
    _read_repository(project, label, repo, progress)
    node = choose_node(project)
    require_repository_reaches(project, node, "no backup can be restored there")
    with progress.stage(f"restore {label or labels[-1]} into a scratch directory on {node} and check it"):
        command = pgbackrest.verify_backup(label, project.settings.scratch_preload_libraries)
        answer = connect(project).run(node, command, line=progress.detail)
    found = pgbackrest.parse_verification(answer.stdout)
    if found is None:
        raise BackupUnchecked("verify-backup gave no result", answer.words, f"inv logs --node {node}")
    if not found.checked:
        name = f"Backup {found.label}" if found.label else "The newest backup"
        raise BackupUnchecked(
            f"{name} could not be checked on {node}", found.error, "inv verify, once that is mended; or inv backup"
        )
    if not found.ok:
        raise BackupNotGood(f"Backup {found.label} is not good", found.error, "inv backup takes a new one")
    return found


def _read_repository(project: Project, label: str, repo: int, progress: Progress) -> None:
    """Every file of one repository, or of one backup. Raises BackupNotGood with the damaged ones."""
    with progress.stage("pgbackrest verify"):
        command = cron.recorded(
            cron.REPOSITORY_FOLDER, "verify-repository", pgbackrest.verify_repository(label, repo=repo)
        )
        files = connect(project).run(REPOSITORY, command, line=progress.detail)
    damage = pgbackrest.parse_damage(files.stdout)
    if not files.ok and damage:
        raise BackupNotGood(
            f"The repository is damaged: {'; '.join(damage)}",
            hint="take a new full backup (inv backup); a damaged WAL segment ends what can be restored before it",
        )
    if not files.ok:
        raise BackupUnchecked("The repository could not be checked", files.words, "inv logs --node pgbackrest")


def choose_node(project: Project) -> str:
    """A standby, so that the leader's disk and processors are left alone; the leader when it is alone."""
    view = read_view(project)
    streaming = [member.name for member in view.members if member.streams]
    if streaming:
        return streaming[0]
    if view.leader is None:
        raise NoLeader("There is no member to restore a backup on", "inv status")
    return view.leader.name


@dataclass(frozen=True)
class Kept:
    """What the hosts keep of scheduled jobs and of verifications, and how much room they have."""

    verifications: tuple[pgbackrest.Verification, ...]
    """the last one of each node, the newest first"""
    results: dict[str, cron.Result]
    """job -> its last result"""
    disks: Mapping[str, tuple[space.Disk, ...]] = field(default_factory=dict)
    """host -> its disks"""

    def verification_of(self, label: str) -> pgbackrest.Verification | None:
        """The newest one of this backup; an attempt that came to no verdict does not take a bad one back."""
        of_it = [one for one in self.verifications if one.label == label]
        verdict = next((one for one in of_it if one.checked), None)
        return verdict if verdict and not verdict.ok else next(iter(of_it), None)


def read_kept(project: Project) -> Kept:
    """From every host that can be asked."""
    commands: dict[str, Command] = dict.fromkeys(node_names(project), cron.results(cron.NODE_FOLDER, space.NODE))
    if project.topology.repository:
        commands[REPOSITORY] = cron.results(cron.REPOSITORY_FOLDER, space.REPOSITORY)
    answers = connect(project).everywhere(commands).items()
    texts = {host: answer.stdout for host, answer in answers if isinstance(answer, Answer)}
    found = [one for text in texts.values() if (one := pgbackrest.parse_verification(text))]
    results: dict[str, cron.Result] = {}
    for text in texts.values():
        for job, result in cron.parse_results(text).items():
            if job not in results or results[job].ended < result.ended:
                results[job] = result
    disks = {host: space.parse(text) for host, text in texts.items()}
    return Kept(tuple(sorted(found, key=lambda one: -one.ended)), results, disks)
