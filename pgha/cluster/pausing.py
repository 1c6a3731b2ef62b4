"""A pause (maintenance mode): Patroni promotes nobody and starts no Postgres until it is told to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pgha.cluster.configuration import read_config
from pgha.cluster.quorum import require_quorum
from pgha.cluster.view import able_first, able_member, agreed_view, cut_off, read_members
from pgha.console import Progress
from pgha.errors import PghaError, TimedOut, ToolFailed
from pgha.project.project import Project
from pgha.remote.connections import connect
from pgha.tools import etcd, patroni, patronictl
from pgha.waiting import wait_until


@dataclass(frozen=True)
class Mode:
    """Whether the cluster is paused, and who knows it."""

    paused: bool
    was: bool
    """before this command"""
    knowing: tuple[str, ...]
    unaware: Mapping[str, str]
    """members that cannot know it yet -> why"""
    view: patroni.ClusterView


def set_paused(project: Project, paused: bool, progress: Progress) -> Mode:
    """Begin or end maintenance mode; returns when every member that can be asked has acted by it once.

    Members that do not answer, or are cut off, learn it when they are back. The caller holds the lock.
    Raises NoQuorum, ToolFailed when Patroni refused, TimedOut with the members that go on as before.
    """
    verb = "pause" if paused else "resume"
    members = read_members(project)
    unaware = {name: told.message for name, told in members.items() if isinstance(told, PghaError)}
    unaware |= cut_off(project, members)
    agreed_view(project, members)
    require_quorum(project)
    was = _is_paused(project)
    if was != paused:
        command = patronictl.pause() if paused else patronictl.resume()
        with progress.stage(f"patronictl {verb}"):
            # patronictl fails, too, when a colleague was quicker.
            answer = connect(project).run(able_member(project), command)
            if _is_paused(project) != paused:
                raise ToolFailed(f"The cluster is not {verb}d", answer.words, "inv status")
    waited = [name for name in members if name not in unaware]
    with progress.stage("wait until every member knows it"):
        _wait_until_known(project, waited, paused)
    return Mode(paused, was, tuple(waited), unaware, agreed_view(project, read_members(project)))


def _is_paused(project: Project) -> bool:
    return bool(read_config(project).get("pause"))


def _wait_until_known(project: Project, names: list[str], paused: bool) -> None:
    """Each Patroni notes in its own key, when it has looked at the cluster, whether it took it for paused. What its
    REST API says may be newer than what its last look went by."""

    hosts, command = able_first(project), etcd.member_keys(project.topology)

    def ignorant() -> list[str]:
        keys = connect(project).first(hosts, command, patronictl.parse_member_keys)[1]
        return [name for name in names if bool(keys.get(name, {}).get("pause")) != paused]

    try:
        wait_until(
            ignorant,
            lambda left: not left,
            "Every member knows it",
            timeout=3 * project.settings.loop_wait + 10,
            explain=lambda left: f"not yet: {', '.join(left)}",
            hint="inv logs --node <name>, then the same command",
        )
    except TimedOut as error:
        word = "paused" if paused else "resumed"
        raise TimedOut(f"The cluster is {word}, but not every member acts by it. {error.message}", error.hint) from None
