"""The suite's own order: no module is forgotten, none hides another."""

from collections import Counter
from pathlib import Path

from groups import ORDER, module_of

TESTS = Path(__file__).parents[1]


def test_every_module_with_a_stack_belongs_to_one_group():
    modules = [module_of(path) for path in TESTS.glob("integration/test_*.py")]
    assert sorted(modules) == sorted(ORDER)


def test_no_two_modules_have_one_name():
    """pytest imports a test module by its name, so that the second one of a name cannot be collected."""
    names = Counter(path.name for path in TESTS.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
