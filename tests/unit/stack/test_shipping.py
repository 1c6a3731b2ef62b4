"""The images on the machines' engines."""

import pytest

from pgha.console import Progress
from pgha.errors import ToolFailed
from pgha.remote.engines import Engine
from pgha.stack import shipping
from pgha.stack.shipping import ship_images
from pgha.tools.command import Answer

MACHINES = {"dc1": "ssh://10.0.0.1", "backup": "ssh://10.0.0.2"}


@pytest.fixture
def held(monkeypatch):
    """Machine (nothing: this host) -> image -> its id; `piped`: what was brought where."""

    class Held(dict):
        piped, answer = (), (0, "")

        def run(self, engine, command):
            image = command.argv[-1]
            return Answer(command, self.get(engine.machine and engine.machine.name, {}).get(image, ""), "", 0)

        def pipe(self, source, target, environment):
            self.piped = (*self.piped, (environment["DOCKER_HOST"], str(source), str(target)))
            return Answer(target, "", self.answer[1], self.answer[0])

    found = Held()
    monkeypatch.setattr(Engine, "run", lambda engine, command: found.run(engine, command))
    monkeypatch.setattr(Engine, "environment", property(lambda engine: {"DOCKER_HOST": engine.machine.name}))
    monkeypatch.setattr(shipping.shell, "pipe", found.pipe)
    monkeypatch.setattr(shipping, "image_names", lambda project: ["a", "b"])
    return found


def test_all_images_are_brought_in_one_archive_to_the_machine_that_lacks_one(make_project, held):
    held.update({None: {"a": "1", "b": "2"}, "10.0.0.1": {"a": "1", "b": "2"}, "10.0.0.2": {"a": "1", "b": "older"}})
    assert ship_images(make_project(data_centers=1, nodes=1, machines=MACHINES), Progress()) == ["10.0.0.2"]
    assert held.piped == (("10.0.0.2", "docker save a b", "docker load --quiet"),)


def test_what_does_not_arrive_is_an_error_that_names_the_machine(make_project, held):
    held.update({None: {"a": "1", "b": "2"}})
    held.answer = (1, "no space left on device")
    with pytest.raises(ToolFailed, match=r"could not be brought to 10\.0\.0\.1\n  \| no space left"):
        ship_images(make_project(data_centers=1, nodes=1, machines=MACHINES), Progress())


def test_on_one_machine_nothing_is_brought(a_project, held):
    assert ship_images(a_project, Progress()) == []
    assert held.piped == ()
