"""Three data centers: back in time with a leader that keeps its data until all is proven, and with one that is gone."""

import re
from datetime import datetime

import pytest
from tools import check_restored, docker, now, numbered_rows, rows, write

pytestmark = pytest.mark.integration


@pytest.fixture
def numbered(sites):
    """A table with the rows 1 to 3, and a backup that has them."""
    return numbered_rows(sites)


@pytest.mark.long
def test_back_to_just_before_a_table_was_dropped(numbered):
    write(numbered, 4, 5)
    just_before = now()
    write(numbered, 6)
    numbered.sql(numbered.leader(), "drop table numbered")
    before = numbered.leader()

    answer = numbered.inv("restore", "--time", just_before, "--yes")
    assert rows(numbered) == [1, 2, 3, 4, 5]
    leader = numbered.wait_well()
    assert leader != before  # the old leader's data was kept until the new state was proven
    assert answer.stdout.count("pgbackrest (delta)") == 2
    reached = re.search(r"reached: +(\S+), last transaction (\S+ \S+), now on timeline (\d+)", answer.stdout)
    assert just_before[:10] in reached[2] and datetime.fromisoformat(reached[2]) <= datetime.fromisoformat(just_before)
    assert int(reached[3]) == int(numbered.sql(leader, "select timeline_id from pg_control_checkpoint()"))
    assert f"requested: time {just_before}" in answer.stdout
    assert re.search(r"set: +\d{8}-\d{6}F", answer.stdout)
    assert "restore " in answer.stdout.split("seconds:")[1]
    check_restored(numbered)


@pytest.mark.long
def test_the_leader_is_gone(numbered):
    write(numbered, 4)
    wanted = now()
    write(numbered, 5)
    docker("kill", numbered.container(numbered.leader()))
    numbered.inv("restore", "--time", wanted, "--yes")
    assert rows(numbered) == [1, 2, 3, 4]
    check_restored(numbered)
