"""The cluster, read: from its members, from etcd, and until it is well.

One member's answer is one member's opinion: one that is cut off goes on telling what it saw last. So every answer says
whether the member sees an etcd majority, and how long ago its Patroni looked. Only members that see one, and have
looked, are believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from pgha.errors import CutOff, NoLeader, PghaError, ToolFailed, Unhealthy, Unreachable
from pgha.model.settings import Settings
from pgha.model.words import counted
from pgha.project.project import Project
from pgha.remote.connections import connect
from pgha.tools import patroni
from pgha.tools.command import Answer
from pgha.waiting import wait_until

Members = Mapping[str, patroni.Told | PghaError]
"""Member -> what it says, or why it says nothing."""

Hear = Callable[[str, str], "patroni.NodeState | None"]
"""Ask a member (the first) what another one, the leader, says of itself; None when that one does not answer it."""


def node_names(project: Project, first: str = "") -> list[str]:
    """The Postgres nodes, one of them first when it is named."""
    names = [node.name for node in project.topology.nodes]
    return sorted(names, key=lambda name: name != first)


# Members ----------------------------------------------------------------------------------------------------


def read_members(project: Project, known: Members | None = None) -> dict[str, patroni.Told | PghaError]:
    """What every member says, asked all at once; not again those whose answer is known."""
    names, known = node_names(project), known or {}
    told = {**known, **ask_members(project, [name for name in names if name not in known])}
    return {name: told[name] for name in names}


def ask_members(project: Project, names: Iterable[str]) -> dict[str, patroni.Told | PghaError]:
    """What these members say, asked all at once."""
    answers = connect(project).everywhere(dict.fromkeys(names, patroni.ask(project.topology)))
    return {name: _parsed(name, answer) for name, answer in answers.items()}


def read_member(project: Project, name: str) -> patroni.Told | PghaError:
    """What one member says, or why it says nothing."""
    try:
        return _parsed(name, connect(project).run(name, patroni.ask(project.topology)))
    except PghaError as error:
        return error


def _parsed(name: str, answer: Answer | PghaError) -> patroni.Told | PghaError:
    if isinstance(answer, PghaError):
        return answer
    try:
        return patroni.parse_told(answer.stdout)
    except CutOff as error:
        return error
    except PghaError:
        return ToolFailed(f"Patroni on {name} does not answer", answer.words)


def answering(members: Members) -> dict[str, patroni.Told]:
    """Those that say something."""
    return {name: told for name, told in members.items() if isinstance(told, patroni.Told)}


def freshness(settings: Settings) -> float:
    """Seconds after which a member that did not look at the DCS is late: it looks every loop_wait."""
    return 2.0 * settings.loop_wait + 1


def cut_off(project: Project, members: Members) -> dict[str, str]:
    """Members that do not know what the others know -> why: cut off from etcd's majority, or their Patroni hangs."""
    limit = freshness(project.settings)
    why = {name: _why_late(told, limit) for name, told in answering(members).items()}
    why |= {name: error.message for name, error in members.items() if isinstance(error, CutOff)}
    return {name: reason for name, reason in why.items() if reason} if not all(why.values()) else {}


def without_quorum(members: Members) -> list[str]:
    """Members that see no etcd majority while another one sees it."""
    if not any(told.sees_quorum for told in answering(members).values()):
        return []
    blind = [name for name, told in answering(members).items() if not told.sees_quorum]
    return blind + [name for name, error in members.items() if isinstance(error, CutOff)]


def _why_late(told: patroni.Told, limit: float) -> str:
    if not told.sees_quorum:
        return "sees no etcd majority: it is cut off"
    return f"has not looked at etcd for {told.dcs_age:.0f} s: its Patroni hangs" if told.dcs_age > limit else ""


def agreed_view(project: Project, members: Members, hear: Hear | None = None) -> patroni.ClusterView:
    """The cluster as a member tells it that sees etcd's majority, on the newest timeline, checked with its leader's own
    list of standbys. `hear` asks a leader that did not answer us; by itself that takes one more command, and waits.

    Raises the first member's error when none can be asked, ToolFailed when none knows (etcd has lost its quorum).
    """
    told = answering(members)
    if not told:
        raise next((error for error in members.values() if isinstance(error, PghaError)), Unreachable("No member"))
    knowing = {name: t for name, t in told.items() if t.cluster is not None}
    if not knowing:
        raise ToolFailed("No member knows the cluster: etcd cannot be asked", hint="inv status")
    late = cut_off(project, members)
    fresh = {name: t for name, t in knowing.items() if name not in late} or knowing
    asked = max(fresh, key=lambda name: (_leaders_timeline(fresh[name].cluster), -fresh[name].dcs_age))
    view = fresh[asked].cluster
    assert view is not None
    leader = view.leader.name if view.leader else ""
    if isinstance(members.get(leader), ToolFailed):
        # Its Patroni answers nobody beside it: whoever asks it from elsewhere waits in vain.
        return patroni.without_answer(view, leader)
    return _confirmed(view, asked, told, hear or hearing(project))


def hearing(project: Project) -> Hear:
    """Has a leader asked by another member. It raises Unreachable when that one cannot be asked."""

    def hear(asked: str, leader: str) -> patroni.NodeState | None:
        if connect(project).is_left_out(leader):
            return None
        answer = connect(project).run(asked, patroni.get(project.topology.urls, "patroni", host=leader))
        return patroni.parse_node(answer.stdout) if answer.ok else None

    return hear


def _confirmed(
    view: patroni.ClusterView, asked: str, told: Mapping[str, patroni.Told], hear: Hear
) -> patroni.ClusterView:
    """The view with what its leader's Postgres says of its standbys; if we have not heard the leader itself, the member
    that gave the view asks it."""
    if view.leader is None:
        return view
    leader = view.leader.name
    if leader in told:
        return patroni.confirm_streaming(view, told[leader].node)
    heard = hear(asked, leader)
    return patroni.confirm_streaming(view, heard) if heard else patroni.without_answer(view, leader)


def _leaders_timeline(view: patroni.ClusterView | None) -> int:
    return (view.leader.timeline or 0) if view and view.leader else 0


def read_view(project: Project, ask_first: str = "") -> patroni.ClusterView:
    """The cluster, cheaply: as one member tells it that has just seen the DCS; else all are asked.

    Raises Unreachable when no member can be asked, ToolFailed when none knows (etcd has lost its quorum).
    """
    asked, told = _ask_one(project, ask_first)
    if isinstance(told, patroni.Told) and _knows(project, told):
        assert told.cluster is not None
        view = _confirmed(told.cluster, asked, {asked: told}, hearing(project))
        # A leader this member does not reach may be lost, or only the line between the two.
        if view.leader or not told.cluster.leader:
            return view
    members = read_members(project, {asked: told})
    view = agreed_view(project, members)
    _remember(project, members)
    return view


def able_member(project: Project, wished: str = "") -> str:
    """A member to run commands on, one that sees the DCS: the wished one if it does.

    Raises the first member's error when none can be asked.
    """
    asked, answer = _ask_one(project, wished)
    if _knows(project, answer):
        return asked
    members = read_members(project, {asked: answer})
    told = answering(members)
    if not told:
        raise next((error for error in members.values() if isinstance(error, PghaError)), Unreachable("No member"))
    return _remember(project, members)


def able_first(project: Project) -> list[str]:
    """The Postgres nodes, one that sees the DCS first when there is one: the others may be cut off from the rest."""
    try:
        return node_names(project, able_member(project))
    except PghaError:
        return node_names(project)


def _ask_one(project: Project, wished: str) -> tuple[str, patroni.Told | PghaError]:
    """The wished member's answer; without a wish, that of the member that knew last time: one that is cut off costs
    seconds each time it is asked."""
    asked = node_names(project, wished or connect(project).informed)[0]
    return asked, read_member(project, asked)


def _knows(project: Project, answer: patroni.Told | PghaError) -> bool:
    """Whether a member has just seen the DCS, so that it can be believed."""
    if not isinstance(answer, patroni.Told) or answer.cluster is None:
        return False
    return not _why_late(answer, freshness(project.settings))


def _remember(project: Project, members: Members) -> str:
    """The member that knows best; it is asked first from now on."""
    told, late = answering(members), cut_off(project, members)
    best = min(told, key=lambda name: (name in late, told[name].cluster is None, told[name].dcs_age))
    connect(project).informed = best
    return best


def require_leader(project: Project) -> patroni.Member:
    """Raises NoLeader."""
    leader = read_view(project).leader
    if leader is None:
        raise NoLeader("The cluster has no leader at the moment", "inv status")
    return leader


# Durability and maintenance ---------------------------------------------------------------------------------


def too_few_synchronous(project: Project) -> list[str]:
    """What lacks until commits wait for the standbys they should (quorum commit: all of them); nothing with `async`.
    Before that nobody can be promoted when the leader is lost."""
    if project.settings.durability != "quorum" or not project.topology.synchronous_node_count:
        return []
    view = read_view(project)
    count = sum(member.is_sync for member in view.members)
    needed = len(view.members) - 1
    return [] if count >= needed else [f"{count} of {counted(needed, 'standby', 'is', 'are')} synchronous"]


# Waiting ----------------------------------------------------------------------------------------------------


def wait_until_well(
    project: Project,
    *,
    timeout: float,
    detail: Callable[[str], None] | None = None,
    ask_first: str = "",
    on_leader: Callable[[str], None] | None = None,
    names: Sequence[str] | None = None,
) -> patroni.ClusterView:
    """Wait for one leader and every other member (of these `names`) streaming from it on its timeline. `on_leader` is
    called once with the leader that is seen first; while it fails it is called again, until all stream: then nobody
    has waited for it.

    Raises TimedOut and names the members that did not come; Unhealthy at once when the cluster is paused without a
    leader: nothing would come of waiting.
    """
    names = node_names(project) if names is None else names
    to_call = [on_leader] if on_leader else []

    def look() -> patroni.ClusterView:
        view = read_view(project, ask_first)
        if view.paused and view.leader is None:
            raise Unhealthy(
                "Patroni is paused (maintenance mode) without a leader: it starts no Postgres and promotes nobody",
                "inv resume",
            )
        if view.leader and to_call:
            try:
                to_call[0](view.leader.name)
                to_call.clear()
            except PghaError:
                if view.not_streaming(names):
                    raise
        return view

    def explain(view: patroni.ClusterView) -> str:
        missing = view.not_streaming(names)
        text = f"not streaming: {', '.join(missing)}" if view.leader else "there is no leader"
        if detail:
            detail(text)
        return text

    return wait_until(
        look,
        lambda view: view.leader is not None and not view.not_streaming(names),
        "Every member streams",
        timeout=timeout,
        explain=explain,
        hint="inv status, inv logs --node <name>",
    )
