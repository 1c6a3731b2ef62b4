"""The gates that a cluster on several machines has to pass, played on the bed and measured.

The cluster is whatever runs there: its nodes are the containers with Patroni in them. Nothing is started but machines.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

from pgha.drills.recorder import Recorder

from .bed import Bed
from .engine import Failed

Seen = TypeVar("Seen")

PATIENCE = 180
"""Seconds after which a gate is not passed."""

LATE = 60
"""Seconds by which some machines come later than another one."""

STATE = (
    "select not pg_is_in_recovery(), coalesce(json_object_agg(application_name, replay_lsn - '0/0') "
    "filter (where state = 'streaming'), '{}') from pg_stat_replication"
)

MARK = "select pg_logical_emit_message(true, 'gate', '') - '0/0'"
"""Something to stream; returns where it is."""


@dataclass
class Run:
    """One run of a gate, in seconds."""

    gate: str
    about: str
    run: float | None = None
    """until every container that ran before runs"""
    stream: float | None = None
    """until every standby has replayed what was written after the weather"""
    gap: float | None = None
    """how long writes stopped"""
    lost: int | None = None
    notes: list[str] = field(default_factory=list)


class Gates:
    def __init__(self, bed: Bed, dsn: str = "") -> None:
        self.bed, self.dsn = bed, dsn
        self.before = {machine: self._ids(machine) for machine in bed.machines()}
        everything = [(machine, name) for machine, names in self.before.items() for name in names]
        self.nodes = {name: machine for machine, name in everything if self._is_node(machine, name)}

    # What there is --------------------------------------------------------------------------------------------

    def _ids(self, machine: str) -> dict[str, str]:
        listed = self.bed.docker(machine, "ps", "--no-trunc", "--format", "{{.Names}} {{.ID}}")
        return dict(line.split() for line in listed.splitlines())

    def _is_node(self, machine: str, container: str) -> bool:
        return bool(self.bed.docker(machine, "exec", container, "printenv", "PATRONI_API", check=False).strip())

    def _sql(self, node: str, query: str) -> str:
        line = ("exec", "--user", "postgres", node, "psql", "-XAtqc", query)
        return self.bed.docker(self.nodes[node], *line, check=False, timeout=20).strip()

    def _look(self) -> dict[str, dict[str, int]]:
        """Who takes writes -> standby -> how far it has replayed."""
        with ThreadPoolExecutor(max_workers=len(self.nodes)) as pool:
            answers = dict(zip(self.nodes, pool.map(lambda node: self._sql(node, STATE), self.nodes), strict=True))
        return {node: json.loads(text[2:]) for node, text in answers.items() if text.startswith("t|")}

    def leader(self) -> str:
        """Who takes writes; waited for."""

        def one() -> str:
            seen = list(self._look())
            return seen[0] if len(seen) == 1 else ""

        return _until(one)

    def _run(self) -> bool:
        with ThreadPoolExecutor() as pool:
            now = pool.map(self._ids, self.before)
            return all(set(ids) <= set(there) for ids, there in zip(self.before.values(), now, strict=True))

    def _streams(self, mark: tuple[str, int]) -> tuple[str, int] | None:
        """Whether all others have replayed this place of the leader; else a new mark, for who leads now."""
        seen = self._look()
        if len(seen) != 1:
            return ("", 0)
        ((leader, standbys),) = seen.items()
        if leader != mark[0]:
            place = self._sql(leader, MARK)
            return (leader, int(place)) if place else ("", 0)
        replayed = [place for place in standbys.values() if place is not None and place >= mark[1]]
        return None if len(replayed) == len(self.nodes) - 1 else mark

    def whole(self, result: Run) -> None:
        """Wait from now until all is as before, and note when."""
        began, mark = time.monotonic(), ("", 0)
        while result.run is None or result.stream is None:
            spent = time.monotonic() - began
            try:
                if result.run is None and self._run():
                    result.run = time.monotonic() - began
                if result.stream is None:
                    found = self._streams(mark)
                    mark = found or mark
                    if found is None:
                        result.stream = time.monotonic() - began
            except (Failed, ValueError):
                pass  # a machine that boots
            if spent > PATIENCE:
                result.notes.append(self.told())
                return
        made_again = {m for m, ids in self.before.items() if self._ids(m) != ids}
        if made_again:
            result.notes.append(f"other containers than before on {', '.join(sorted(made_again))}")

    def told(self) -> str:
        """What does not run, in the engines' words."""
        found = []
        for machine, names in self.before.items():
            for name in names:
                state = "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}"
                said = self.bed.docker(machine, "inspect", "--format", state, name, check=False).strip()
                if not said.startswith("running"):
                    found.append(f"{name}: {said}")
        return "; ".join(found) or f"all run, but do not stream: {self._look()}"

    @contextmanager
    def _writes(self, result: Run) -> Iterator[None]:
        """A client meanwhile, if there is a dsn."""
        if not self.dsn:
            yield
            return
        with Recorder(self.dsn, "gate", pause=0.02, connect_pause=0.1) as writer:
            _until(lambda: len(writer.acknowledged) > 20)
            yield
            seen = len(writer.acknowledged)
            _until(lambda: len(writer.acknowledged) > seen + 20)
        result.gap = writer.longest_gap()
        result.lost = len(list(writer.verdict().lost))

    # The gates ------------------------------------------------------------------------------------------------

    def machine_of_leader(self) -> str:
        return self.nodes[self.leader()]

    def standby_machine(self) -> str:
        leads = self.machine_of_leader()
        return next(machine for machine in reversed(self.bed.machines()) if machine != leads)

    def power_lost_everywhere(self) -> Run:
        return self._every("all killed, started together", lambda every: self.bed.start(*every, wait=False))

    def one_comes_first(self) -> Run:
        def start(every: list[str]) -> None:
            self.bed.start(every[0], wait=False)
            time.sleep(LATE)
            self.bed.start(*every[1:], wait=False)

        return self._every(f"all killed, the others {LATE} s after {self.bed.machines()[0]}", start)

    def one_comes_last(self) -> Run:
        def start(every: list[str]) -> None:
            self.bed.start(*every[:-1], wait=False)
            time.sleep(LATE)
            self.bed.start(every[-1], wait=False)

        return self._every(f"all killed, {self.bed.machines()[-1]} {LATE} s after the others", start)

    def _every(self, about: str, start: Callable[[list[str]], None]) -> Run:
        result, every = Run("power", about), self.bed.machines()
        self.bed.kill(*every)
        start(every)
        self.whole(result)
        return result

    def reboot_all(self) -> Run:
        result, every = Run("reboot", "all shut down and started together"), self.bed.machines()
        self.bed.stop(*every)
        self.bed.start(*every, wait=False)
        self.whole(result)
        return result

    def reboot(self) -> Run:
        machine = self.standby_machine()
        result = Run("reboot", f"{machine}, a standby's")
        with self._writes(result):
            self.bed.stop(machine)
            self.bed.start(machine, wait=False)
            self.whole(result)
        return result

    def leader_stops(self) -> Run:
        machine = self.machine_of_leader()
        result = Run("stop", f"{machine}, the leader's, shut down and started")
        with self._writes(result):
            self.bed.stop(machine)
            self.bed.start(machine, wait=False)
            self.whole(result)
        return result

    def leader_killed(self) -> Run:
        machine = self.machine_of_leader()
        result = Run("kill", f"{machine}, the leader's; started when another leads")
        with self._writes(result):
            self.bed.kill(machine)
            _until(lambda: [node for node in self._look() if self.nodes[node] != machine])
            self.bed.start(machine, wait=False)
            self.whole(result)
        return result

    def cut(self, seconds: float, leader: bool = False) -> Run:
        machine = self.machine_of_leader() if leader else self.standby_machine()
        result = Run("cut", f"{machine}, {'the leader' if leader else 'a standby'}'s, for {seconds:g} s")
        with self._writes(result) if not leader else nullcontext():
            with self.bed.cut_off(machine):
                time.sleep(seconds)
            self.whole(result)
        return result

    def majority_away(self) -> Run:
        """The leader's machine and another are killed; the third has to be unharmed."""
        leads = self.machine_of_leader()
        third = self.standby_machine()
        others = [machine for machine in self.bed.machines() if machine != third]
        result = Run("majority", f"{' and '.join(others)} killed for 60 s ({leads} led)")
        started = self._started(third)
        self.bed.kill(*others)
        time.sleep(60)
        if self._started(third) != started:
            result.notes.append(f"a container of {third} was started again")
        self.bed.start(*others, wait=False)
        self.whole(result)
        return result

    def _started(self, machine: str) -> str:
        names = self.before[machine]
        return self.bed.docker(machine, "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *names)


GATES: dict[str, Callable[[Gates], Run]] = {
    "reboot": Gates.reboot,
    "reboot-all": Gates.reboot_all,
    "power": Gates.power_lost_everywhere,
    "one-first": Gates.one_comes_first,
    "one-last": Gates.one_comes_last,
    "leader-stops": Gates.leader_stops,
    "leader-killed": Gates.leader_killed,
    "cut-10": lambda gates: gates.cut(10),
    "cut-30": lambda gates: gates.cut(30),
    "cut-120": lambda gates: gates.cut(120),
    "cut-leader-30": lambda gates: gates.cut(30, leader=True),
    "majority": Gates.majority_away,
}


def line(run: Run) -> str:
    """A row of a table."""
    seconds = ["-" if value is None else f"{value:.1f}" for value in (run.run, run.stream, run.gap)]
    lost = "-" if run.lost is None else str(run.lost)
    return f"| {' | '.join([run.gate, run.about, *seconds, lost, '; '.join(run.notes)])} |"


def _until(look: Callable[[], Seen]) -> Seen:
    deadline = time.monotonic() + PATIENCE
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise Failed(f"not within {PATIENCE} s")
        time.sleep(0.1)
    return seen
