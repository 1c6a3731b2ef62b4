"""What an operator changes while clients write: nothing breaks, and no write fails but during a switchover.

An entry a verb: it is played as the verb does it, and what it changed is given back by `mend`.
"""

from __future__ import annotations

from pgha.cluster.handover import hand_over
from pgha.cluster.restart import prepare, restart
from pgha.cluster.rolling import leading_etcd
from pgha.drills import shape
from pgha.drills.scenario import GOES_ON, Scenario, nodes
from pgha.drills.scene import Scene
from pgha.model.rules import MAX_NODES
from pgha.model.topology import Host, Topology
from pgha.project.coming import CERTIFICATES, KEYS
from pgha.stack import again, replacing
from pgha.stack.identities import rotate_identities
from pgha.stack.rotation import rotate_passwords


def _restart(scene: Scene) -> None:
    restart(scene.project, prepare(scene.project, "", False), scene.progress)


def _make_again(scene: Scene) -> None:
    again.make_every_again(scene.as_settings_say, "this drill makes every one again", scene.progress)


def _rotate_passwords(scene: Scene) -> None:
    rotate_passwords(scene.project, scene.progress)


def _rotate_keys(scene: Scene) -> None:
    for what in (KEYS, CERTIFICATES) if scene.topology.repository else (KEYS,):
        rotate_identities(scene.project, what, scene.progress)


def _replace_leading_etcd(scene: Scene) -> None:
    """The member that leads etcd: all others have to agree on another one meanwhile."""
    name = leading_etcd(scene.project) or scene.topology.etcd[0].name
    checked = replacing.check(scene.project, replacing.target(scene.project, "", name))
    replacing.replace_host(scene.project, checked, scene.progress)


def _grow(scene: Scene) -> None:
    settings = scene.project.settings
    shape.scale_to(scene.project, settings.data_centers, settings.nodes + 1, scene.progress)


def _lead_from_the_last(scene: Scene) -> None:
    """The member that leads is one of those that will go."""
    last = _last_here(scene)
    if scene.leader != last:
        hand_over(scene.project, last.name, scene.progress, only_switchover=True)


def _last_here(scene: Scene) -> Host:
    return [node for node in scene.topology.nodes if node.site == scene.leader.site][-1]


def _shrink(scene: Scene) -> None:
    settings = scene.project.settings
    shape.scale_to(scene.project, settings.data_centers, settings.nodes - 1, scene.progress)


def _give_back(scene: Scene) -> None:
    shape.give_back(scene.project, scene.progress)


def _room_for_more(topology: Topology) -> str:
    more = len(topology.nodes) + len(topology.data_centers)
    return "" if more <= MAX_NODES else f"takes room for one node more in each data center, {MAX_NODES} at most"


def _one_to_spare(topology: Topology) -> str:
    spare = len(topology.nodes) > len(topology.data_centers)
    return "" if spare else "takes 2 Postgres nodes in each data center"


CHANGES = (
    Scenario("rollout-restart", "nothing: every Postgres is restarted, one after another", GOES_ON, "drill_gap_planned",
             _restart, needs=nodes(2)),
    Scenario("rollout-image", "nothing: every container is made again, one after another, as for other images", GOES_ON,
             "drill_gap_planned", _make_again, needs=nodes(2)),
    Scenario("rotate-passwords", "nothing: the passwords of the project's own roles are replaced", GOES_ON,
             "drill_gap_bystander", _rotate_passwords),
    Scenario("rotate-keys", "nothing: the SSH keys are replaced, then the certificates", GOES_ON,
             "drill_gap_bystander", _rotate_keys),
    Scenario("etcd-member-replaced", "nothing: the etcd member that leads is made anew with an empty volume", GOES_ON,
             "drill_gap_bystander", _replace_leading_etcd),
    Scenario("scale-out", "nothing: one node more in each data center, then back", GOES_ON, "drill_gap_planned", _grow,
             mend=_give_back, needs=_room_for_more, one_machine=True),
    Scenario("scale-in", "nothing: one node fewer in each data center, the leader among them, then back", GOES_ON,
             "drill_gap_planned", _shrink, prepare=_lead_from_the_last, mend=_give_back, needs=_one_to_spare,
             one_machine=True),
)  # fmt: skip
