"""Which test modules share a stack, and the order in which they run."""

from pathlib import Path

GROUPS = {
    "unit": (),
    "rendering": (),
    "big": (
        "main_job", "seed_commands", "handover", "processes", "chaos_sites", "closed", "second_project", "drills_all",
        "tour",
    ),
    "small": ("small_stack", "settings_of_a_stack", "members_gone", "status", "chaos"),
    "stages": ("restore_stages", "rolling", "rotation", "upgrade", "psql_ssh_dsn", "watch", "runbooks_major"),
    "restore": ("restore", "drills", "scratch", "runbooks_day_two"),
    "sites": ("majority", "day_two_sites", "drills_sites", "restore_sites", "recover", "runbooks_sites", "watch_sites"),
    "daily": ("day_two", "daily", "encrypted", "secured", "runbooks"),
    "shape": ("shapes", "scaling", "plan_reality", "monitoring"),
    "machines": ("several_machines",),
}  # fmt: skip
"""A group is run by one worker: its modules share a stack. The groups are handed out in this order: what makes the
images, then the longest ones, so that all workers end together."""

ORDER = [module for modules in GROUPS.values() for module in modules]


def module_of(path):
    """The name of a module that shares a stack; nothing for a fast test's."""
    path = Path(path)
    return path.stem.removeprefix("test_") if path.parent.name == "integration" else ""


def group_of(path):
    """The fast tests are two groups: two processes have work while a third one builds the images."""
    fast = "rendering" if Path(path).parent.name == "stack" else "unit"
    return next((group for group, modules in GROUPS.items() if module_of(path) in modules), fast)
