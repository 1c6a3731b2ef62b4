"""The page's server: loopback, reads only, and no name but its own."""

import http.client
import json
import re
import socket
import threading

import pytest

from pgha import ROOT
from pgha.errors import BadValue, NotReady, PortTaken
from pgha.watch import web
from pgha.watch.stream import Snapshot

pytest.importorskip("starlette", reason="the extra web is not installed")
pytest.importorskip("uvicorn", reason="the extra web is not installed")

SEEN = Snapshot(1_795_000_000.0, {"project": "p", "leader": "pg1-node1"}, (), ())


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind((web.LOOPBACK, 0))
        return free.getsockname()[1]


@pytest.fixture
def hub(port):
    with web.served(port) as (hub, url):
        assert url == f"http://127.0.0.1:{port}/"
        yield hub


def ask(port, path="/", method="GET", **headers):
    connection = http.client.HTTPConnection(web.LOOPBACK, port, timeout=10)
    connection.request(method, path, headers=headers)
    return connection.getresponse()


def test_the_page_needs_nothing_from_elsewhere(hub, port):
    answer = ask(port)
    text = answer.read().decode()
    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []
    assert re.findall(r"(?:src|href|import|url\()\s*=?\s*[\"']?(?!data:,)[\w/.]+\.(?:js|css|woff2?)", text) == []


def test_a_stream_begins_with_the_newest_snapshot_and_goes_on(hub, port):
    assert ask(port, "/snapshot").status == 503
    hub.publish(SEEN)
    assert json.loads(ask(port, "/snapshot").read())["status"]["leader"] == "pg1-node1"
    streams = [ask(port, "/events") for _ in range(2)]
    assert streams[0].headers["Content-Type"].startswith("text/event-stream")
    for stream in streams:
        first = stream.readline().decode()
        assert json.loads(first.removeprefix("data: "))["at"] == "2026-11-18T11:06:40Z"
        assert stream.readline() == b"\n"
    hub.publish(Snapshot(1_795_000_001.0, {"project": "p", "leader": None}, (), ()))
    for stream in streams:
        assert json.loads(stream.readline().decode().removeprefix("data: "))["status"]["leader"] is None


def test_the_page_has_the_newest_snapshot_in_it(hub, port):
    def first():
        return json.loads(re.search(r'id="first">(.*?)</script>', ask(port).read().decode())[1])

    assert first() is None
    hub.publish(Snapshot(1_795_000_000.0, {"leader": "</script><b>"}, (), ()))
    assert first()["status"]["leader"] == "</script><b>"


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1", 200), ("localhost", 200), ("evil.example", 400), ("127.0.0.1.evil.example", 400), ("", 400),
])  # fmt: skip
def test_it_answers_to_its_own_name_only(hub, port, host, status):
    hub.publish(SEEN)
    for path in ("/", "/snapshot"):
        assert ask(port, path, Host=f"{host}:{port}").status == status


def test_it_reads_only(hub, port):
    for path in ("/", "/events", "/snapshot"):
        assert {ask(port, path, method).status for method in ("POST", "PUT", "DELETE", "PATCH")} == {405}
    assert ask(port, "/etc/passwd").status == ask(port, "/../../etc/passwd").status == 404


def test_it_ends_with_its_pages_open(port):
    before = threading.active_count()
    with web.served(port) as (hub, _):
        hub.publish(SEEN)
        stream = ask(port, "/events")
        assert stream.readline()
    assert threading.active_count() <= before
    with web.served(port):
        assert ask(port).status == 200


def test_it_listens_on_loopback_and_a_port_that_is_taken_is_said(port):
    listening = web.listen(port)
    assert listening.getsockname() == ("127.0.0.1", port)
    with pytest.raises(PortTaken, match=f"Nothing can listen on 127.0.0.1:{port}") as caught:
        web.listen(port)
    assert f"--port {port + 1}" in caught.value.hint
    listening.close()
    for wrong in (0, 80, 65536):
        with pytest.raises(BadValue):
            web.listen(wrong)


def test_a_missing_extra_is_named(monkeypatch, port):
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    with pytest.raises(NotReady) as caught, web.served(port):
        pass
    assert caught.value.hint == "pip install -e '.[web]'"


def test_the_page_is_in_the_templates():
    assert web.PAGE == ROOT / "templates" / "watch.html"
