"""How an etcd container starts and ends, with fakes of the programs that its entrypoint calls."""

import signal
import subprocess

import pytest

from pgha import ROOT
from pgha.waiting import wait_until

STATUS = "https://etcd1:2379, a1, 3.5.16, 61 kB, {leads}, false, 2, 109, 109, "

MEMBERS = """\
a1, started, etcd1, https://etcd1:2380, https://etcd1:2379, false
b2, unstarted, , https://etcd2:2380, , false
c3, started, etcd3, https://etcd3:2380, https://etcd3:2379, true
d4, started, etcd4, https://etcd4:2380, https://etcd4:2379, false
e5, started, etcd5, https://etcd5:2380, https://etcd5:2379, false"""


@pytest.fixture
def start(fake, tmp_path):
    """Start an etcd that leads or not; what etcdctl was asked is in `asked`. The first move of the lead fails."""
    (tmp_path / "etcd.yml").write_text("name: etcd1\nadvertise-client-urls: https://etcd1:2379\n")
    script = tmp_path / "entrypoint.sh"
    text = (ROOT / "images" / "etcd" / "entrypoint.sh").read_text()
    script.write_text(text.replace("/run/secrets", str(tmp_path)))

    def start(leads, server="trap '' TERM; while :; do sleep 0.1; done"):
        fake("setpriv", f'echo "$*" > {tmp_path}/ran.new; mv {tmp_path}/ran.new {tmp_path}/ran; {server}')
        fake(
            "etcdctl",
            f'echo "$*" >> {tmp_path}/asked\n'
            f'case "$*" in *status) echo "{STATUS.format(leads=leads)}" ;; *list) echo "{MEMBERS}" ;;\n'
            "*d4) exit 1 ;; esac",
        )
        return subprocess.Popen(["sh", script])

    return start


def ran(tmp_path):
    return wait_until(lambda: (tmp_path / "ran").exists(), bool, "it runs", timeout=20)


@pytest.mark.parametrize(("leads", "moves"), [("true", ["d4", "e5"]), ("false", [])])
def test_told_to_end_it_ends_at_once_and_one_that_leads_hands_over_first(start, tmp_path, leads, moves):
    with start(leads) as program:
        ran(tmp_path)
        program.send_signal(signal.SIGTERM)
        assert program.wait(timeout=20) == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    assert all(line.startswith("--endpoints=https://etcd1:2379 ") for line in asked)
    assert [line.split()[-1] for line in asked if "move-leader" in line] == moves
    arguments = (tmp_path / "ran").read_text()
    assert arguments == f"--reuid=etcd --regid=etcd --init-groups etcd --config-file {tmp_path}/etcd.yml\n"


def test_one_that_ends_by_itself_ends_the_container_with_its_code(start, tmp_path):
    with start("true", server="exit 7") as program:
        assert program.wait(timeout=20) == 7
    assert not (tmp_path / "asked").exists()


def test_with_stock_on_etcd_ends_by_itself(start, tmp_path, monkeypatch):
    monkeypatch.setenv("PGHA_STOCK", "on")
    with start("true", server="trap 'exit 3' TERM; while :; do sleep 0.1; done") as program:
        ran(tmp_path)
        program.send_signal(signal.SIGTERM)
        assert program.wait(timeout=20) == 3
    assert not (tmp_path / "asked").exists()
