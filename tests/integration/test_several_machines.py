"""A data center on each of three machines: the same commands, and what befalls machines."""

import pytest
from tools import Writer, check_restored, numbered_rows, rows, taken_over, until, write

pytestmark = [pytest.mark.integration, pytest.mark.long]


@pytest.fixture
def far(bench):
    """Three machines with a cluster that is well, with a stanza and a backup; whatever an earlier test did to them."""
    stack = bench.stacks["machines"]

    def make():
        stack.clear()
        stack.make_machines()
        stack.inv("render", "-d", "3", "-p", "1", "up", "stanza", "backup")

    if not stack.bed.machines():
        make()
    for machine in stack.bed.machines():
        if machine not in stack.running_machines():
            stack.bed.start(machine)
        stack.bed.mend(machine)
    try:
        stack.wait_well()
    except AssertionError:
        # The failure was another test's; this one gets a stack that works.
        make()
    return stack


def test_up_puts_each_data_center_on_its_machine(far):
    for machine in far.bed.machines():
        states = far.bed.containers(machine)
        assert set(states) == {far.container(host) for host in far.containers() if far.machine(host) == machine}
        assert set(states.values()) == {"running"}
    status = far.status()
    assert status["healthy"] is True
    assert len(far.backups()) == 1


def test_up_again_changes_nothing(far):
    before = far.containers()
    far.inv("up")
    assert far.containers() == before


def test_a_switchover_hands_over_to_another_machine(far):
    leader = far.wait_synchronous()
    with Writer(far.dsn(), "handed") as writer:
        far.inv("switchover")
        writer.wait_for_more()
    assert far.machine(far.leader()) != far.machine(leader)
    assert writer.missing() == set()


def test_the_leader_s_machine_loses_power_and_comes_back(far):
    """Nothing is started but the machine."""
    leader = far.wait_synchronous()
    machine, before = far.machine(leader), far.containers()
    with Writer(far.dsn(), "powerless") as writer:
        far.bed.kill(machine)
        taken_over(far, leader)
        writer.wait_for_more()
        status = far.status()
        assert status["healthy"] is False
        assert any(machine in problem["sentence"] for problem in status["problems"])
        far.bed.start(machine)
        far.wait_well()
        writer.wait_for_more()
    assert writer.missing() == set()
    assert far.containers("running") == before
    until(lambda: far.status()["healthy"], "status finds nothing wrong")


def test_a_machine_is_cut_off_and_comes_back(far):
    leader = far.wait_synchronous()
    machine = far.machine(leader)
    with Writer(far.dsn(), "apart") as writer:
        with far.bed.cut_off(machine, operator=True):
            taken_over(far, leader)
            writer.wait_for_more()
        far.wait_well()
        writer.wait_for_more()
    assert writer.missing() == set()


def test_every_machine_loses_power(far):
    """And one of them comes up when the others have been there for a while."""
    before = far.containers()
    *first, last = far.bed.machines()
    far.bed.kill(*first, last)
    far.bed.start(*first)
    until(lambda: far.leader() in far.running_nodes(), "two machines are enough for a leader")
    far.bed.start(last)
    far.wait_well()
    assert far.containers("running") == before


def test_back_to_before_a_mistake(far):
    numbered_rows(far)
    far.inv("restore-point", "--name", "before")
    write(far, 4)
    far.inv("restore", "--name", "before", "--yes")
    assert rows(far) == [1, 2, 3]
    check_restored(far)
