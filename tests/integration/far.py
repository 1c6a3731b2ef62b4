"""A stack on several machines: those of tests/machines, a data center on each."""

import json
import re
import shutil

from machines.bed import Bed
from machines.engine import Failed
from tools import PATIENCE, PROJECT_LABEL, ROOT, Stack, program, told

PLACES = {"dc1": "db-a", "dc2": "db-b", "dc3": "db-c", "backup": "db-a"}
"""Site -> machine."""


class FarStack(Stack):
    """Changed through `inv` on this host, looked at on the machines."""

    def __init__(self, stack, nodes=()):
        super().__init__(stack, nodes)
        self.own = {"image_tag": self.own["image_tag"]}
        self.bed = Bed(self.name, PATIENCE)

    def make_machines(self):
        """Machines that run, and the setting that names them."""
        self.bed.up()
        places = {
            site: {"engine": f"ssh://root@{machine}", "address": self.bed.address(machine)}
            for site, machine in PLACES.items()
        }
        self.settings = {"machines": json.dumps(places)}

    def environment(self, settings):
        return {**super().environment(settings), **self.bed.environment()}

    # The engines --------------------------------------------------------------------------------------------

    def machine(self, host):
        number = re.search(r"\d+", host)
        return PLACES[f"dc{number[0]}" if number else "backup"]

    def running_machines(self):
        return [name for name, state in self.bed.states().items() if state == "running"]

    def containers(self, *states):
        filters = [f"--filter=status={state}" for state in states]
        found = {}
        for machine in self.running_machines():
            listed = self.bed.docker(
                machine, "ps", "--all", "--no-trunc", f"--filter=label={PROJECT_LABEL}={self.name}", *filters,
                "--format={{.Names}} {{.ID}}",
            )  # fmt: skip
            found.update(line.removeprefix(f"{self.name}-").split() for line in listed.splitlines())
        return found

    def run(self, host, *command, user="root", check=True, stdin=None):
        line = ("docker", "exec", "-i", f"--user={user}", self.container(host), *command)
        outer = ("docker", "exec", "-i", self.bed.container(self.machine(host)))
        return program(*outer, *line, check=check, input=stdin).stdout

    def logs(self, host):
        machine = self.bed.container(self.machine(host))
        return told(program("docker", "exec", machine, "docker", "logs", self.container(host), check=False))

    def keep(self, folder):
        if not self.bed.machines():
            return False
        folder.mkdir(parents=True, exist_ok=True)
        for machine in self.bed.machines():
            said = program("docker", "logs", self.bed.container(machine), check=False)
            (folder / f"{machine}.log").write_text(told(said))
        for host in self.containers():
            (folder / f"{self.container(host)}.log").write_text(self.logs(host))
        (folder / f"{self.name}.status").write_text(told(self.try_inv("status", "--json")))
        return True

    # Cluster ------------------------------------------------------------------------------------------------

    @property
    def scheme(self):
        return "https"

    @property
    def etcds(self):
        return ["etcd1", "etcd2", "etcd3"]

    def dcs(self, *keys):
        try:
            return super().dcs(*keys)
        except Failed as error:
            raise LookupError(str(error)) from error

    def conninfo(self, host, **parameters):
        return super().conninfo(host, **{"hostaddr": self.bed.address(self.machine(host)), **parameters})

    # The end ------------------------------------------------------------------------------------------------

    def clear(self):
        self.bed.down()
        for folder in (self.folder, self.keys_folder, self.certificates_folder):
            shutil.rmtree(folder, ignore_errors=True)
        (ROOT / "build" / f"{self.name}.lock").unlink(missing_ok=True)
