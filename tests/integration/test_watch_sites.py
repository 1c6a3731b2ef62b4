"""The page of `inv watch --web` in a browser, while a data center is cut off: what it shows is what is true."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from tools import ROOT, interrupt, program, until

pytestmark = [pytest.mark.integration, pytest.mark.long]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

IMAGES = ROOT / "docs" / "images"

NODES = {site: f"pg{site[2]}-node1" for site in ("dc1", "dc2", "dc3")}


class Shown(HTMLParser):
    """What stands in the page: hosts with role and state, lines that are cut, problems."""

    def __init__(self, text):
        super().__init__()
        self.hosts, self.cut = {}, set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if "data-host" in found:
            self.hosts[found["data-host"]] = (found["data-role"], found["data-state"])
        if found.get("data-cut") == "true":
            self.cut.add(tuple(found["data-line"].split()))


def browser(tmp_path, *arguments):
    return program(
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1",
        f"--user-data-dir={tmp_path}/profile", "--window-size=1000,720", *arguments,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def shown(tmp_path, url):
    return Shown(browser(tmp_path, "--dump-dom", url).stdout)


def picture(tmp_path, url, name):
    browser(tmp_path, f"--screenshot={tmp_path}/{name}.png", url)
    made = (tmp_path / f"{name}.png").read_bytes()
    assert made[:4] == b"\x89PNG" and len(made) > 10_000
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / f"watch-{name}.png").write_bytes(made)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium")
def test_the_page_shows_a_cut_as_it_is(sites, tmp_path):
    old = sites.wait_synchronous()
    cut = next(site for site, node in NODES.items() if node == old)
    port = sites.own["ssh_port"] + 19
    url = f"http://127.0.0.1:{port}/"
    watch = sites.begin("watch", "--web", "--port", str(port), "--probe")
    try:
        whole = until(lambda: next(s for s in [shown(tmp_path, url)] if s.hosts), "the page shows hosts", 60)
        assert whole.cut == set()
        assert whole.hosts[old] == ("leader", "running")
        assert {whole.hosts[node][1] for node in NODES.values() if node != old} == {"streaming"}
        until(lambda: "0/s" not in rate(tmp_path, url), "writes are acknowledged", 30)
        picture(tmp_path, url, "healthy")
        sites.inv("chaos.partition", "--dc", cut)
        try:
            new = until(
                lambda: next(n for n in [sites.status()["leader"]] if n not in (None, old)), "another leads", 90
            )
            apart = until(
                lambda: next(s for s in [shown(tmp_path, url)] if s.hosts[old][1] == "cut off"), "it is cut", 60
            )
            assert all(cut in line for line in apart.cut) and len(apart.cut) == 3
            assert apart.hosts[new] == ("leader", "running")
            assert [name for name, (role, _) in apart.hosts.items() if role == "leader"] == [new]
            picture(tmp_path, url, "cut")
        finally:
            sites.inv("chaos.heal")
        sites.wait_well()
        until(lambda: sites.status()["healthy"], "everything is archived", 90)
        healed = until(lambda: next(s for s in [shown(tmp_path, url)] if not s.cut), "no line is cut", 60)
        assert healed.hosts[new] == ("leader", "running") and healed.hosts[old][1] == "streaming"
        picture(tmp_path, url, "healed")
    finally:
        code, _ = interrupt(watch)
    assert code == 130


def rate(tmp_path, url):
    return re.search(r'id="rate"[^>]*>([^<]*)', browser(tmp_path, "--dump-dom", url).stdout)[1]
