"""A change of the dynamic configuration as it is typed, `postgresql.parameters.work_mem=8MB`, and what is refused."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from pgha.errors import BadValue
from pgha.model.merging import flatten
from pgha.model.rules import LIMITS, NOT_OURS
from pgha.model.settings import Settings

PARAMETERS = ("postgresql", "parameters")

Path = tuple[str, ...]

INTEGERS = (
    "loop_wait", "ttl", "retry_timeout", "maximum_lag_on_failover", "maximum_lag_on_syncnode", "max_timelines_history",
    "primary_start_timeout", "primary_stop_timeout", "synchronous_node_count", "member_slots_ttl",
)  # fmt: skip

SWITCHES = ("failsafe_mode", "check_timeline", "synchronous_mode_strict", "pause")

OTHERS = ("synchronous_mode", "slots", "ignore_slots", "standby_cluster")

OF_POSTGRES = (
    "parameters", "recovery_conf", "use_pg_rewind", "use_slots", "pg_ctl_timeout", "create_replica_methods",
    "remove_data_directory_on_rewind_failure", "remove_data_directory_on_diverged_timelines", "pgbackrest",
)  # fmt: skip
"""Patroni knows more; of a node's own file (`patroni.conf`), which it prefers, are those below."""

LOCAL = (
    "authentication", "basebackup", "before_stop", "bin_dir", "callbacks", "config_dir", "connect_address", "data_dir",
    "listen", "pg_hba", "pg_ident", "pgpass", "proxy_address", "use_unix_socket",
)  # fmt: skip

BY_COMMAND = {
    ("pause",): "inv pause and inv resume",
    ("standby_cluster",): "nobody: the leader would become a standby of another cluster",
    ("postgresql", "create_replica_methods"): "inv stanza",
    ("postgresql", "pgbackrest"): "inv stanza",
    ("postgresql", "recovery_conf", "restore_command"): "inv stanza",
    ("postgresql", "recovery_conf", "recovery_target_timeline"): "inv stanza",
}

RECOVERY = (
    "archive_cleanup_command", "recovery_end_command", "recovery_min_apply_delay", "restore_command",
)  # fmt: skip
"""Patroni takes them from `postgresql.recovery_conf` only."""

UNSAFE = {
    "fsync": (("off", "false", "no", "0"), "a crash of the machine would damage the data"),
    "full_page_writes": (("off", "false", "no", "0"), "a crash of the machine would damage the data"),
    "synchronous_commit": (("off", "local", "false", "no", "0"), "a commit would not wait for a standby"),
    "ssl_min_protocol_version": (("", "tlsv1", "tlsv1.1"), "those versions of TLS are broken"),
}
"""Parameter -> values that break a promise, and which."""


def read_change(sets: Iterable[str], unsets: Iterable[str]) -> dict[str, Any]:
    """The patch these words ask for, None for what goes. Values are YAML, as patronictl takes them.

    Raises BadValue for a word that is none, a key given twice, and a key or a value that Patroni would not take.
    """
    wanted: dict[Path, Any] = {}
    for word in sets:
        key, equals, text = word.partition("=")
        if not equals:
            raise BadValue(f"--set {word} has no value", f"inv config --set {word}=<value>, or --unset {word}")
        _add(wanted, key.strip(), _value(key.strip(), text))
    for key in unsets:
        if "=" in key:
            raise BadValue(f"--unset {key} has a value", f"inv config --unset {key.partition('=')[0]}")
        _add(wanted, key.strip(), None)
    return nested(wanted)


def _add(wanted: dict[Path, Any], key: str, value: Any) -> None:
    path = path_of(key)
    for other in wanted:
        if path[: len(other)] == other or other[: len(path)] == path:
            raise BadValue(f"{key} is given twice", "inv config --set <key>=<value>, each key once")
    _require_shape(key, path, value)
    wanted[path] = value


def path_of(key: str) -> Path:
    """The steps to a key; the name of a Postgres parameter may have a dot. Raises BadValue for one that is none."""
    steps = tuple(key.split("."))
    if steps[:2] == PARAMETERS:
        steps = (*PARAMETERS, ".".join(steps[2:])) if len(steps) > 2 else steps
    if not all(steps):
        raise BadValue(f"{key!r} is not a key", "inv config shows those that are set")
    known = (*INTEGERS, *SWITCHES, *OTHERS, "postgresql")
    if steps[0] not in known:
        raise BadValue(f"Patroni's dynamic configuration knows no {steps[0]}", _way(key, steps[0], known))
    if steps[0] == "postgresql" and len(steps) > 1 and steps[1] not in (*OF_POSTGRES, *LOCAL):
        raise BadValue(f"Patroni's dynamic configuration knows no {key}", _way(key, steps[1], OF_POSTGRES))
    return steps


def _way(key: str, word: str, known: Sequence[str]) -> str:
    """What was meant, perhaps: a key alone is taken for a Postgres parameter's name."""
    close = difflib.get_close_matches(word, known, 1)
    meant = f"{close[0]}?" if close else ""
    if not key.startswith("postgresql."):
        meant = " ".join(filter(None, (meant, f"a Postgres parameter is postgresql.parameters.{key}")))
    return meant or "inv config shows the keys that are set"


def _value(key: str, text: str) -> Any:
    if not text.strip():
        raise BadValue(f"{key} is given no value", f"--unset {key} takes it out; \"{key}=''\" is an empty text")
    try:
        value = yaml.safe_load(text)
        json.dumps(value)
    except yaml.YAMLError:
        raise BadValue(f"{text!r} for {key} is not YAML", f"with quotes of its own: --set \"{key}='...'\"") from None
    except TypeError:
        # A date, in YAML's eyes.
        return text
    return value


def _require_shape(key: str, path: Path, value: Any) -> None:
    """Raises BadValue when Patroni would take this for something else, or for nothing, and say so in its log only."""
    top = path[0]
    if path in (("postgresql",), PARAMETERS, ("postgresql", "recovery_conf")):
        raise BadValue(f"{key} is a table: its keys are changed one by one", f"inv config --set {key}.<name>=<value>")
    if len(path) == 1 and value is not None:
        if top in INTEGERS and (isinstance(value, bool) or not isinstance(value, int) or value < -1):
            raise BadValue(f"{key} is a whole number, which {value!r} is not", "docs/settings.md")
        if top in SWITCHES and not isinstance(value, bool):
            raise BadValue(f"{key} is true or false, which {value!r} is not", "docs/settings.md")
    if len(path) > 1 and top not in ("postgresql", "slots", "standby_cluster"):
        raise BadValue(f"{key}: {top} has no keys", f"inv config --set {top}=<value>")
    if isinstance(value, (dict, list)) and top not in ("slots", "ignore_slots"):
        raise BadValue(f"{key} is one value, which {value!r} is not", f"inv config --set {key}=<value>")
    if isinstance(value, dict) and not flatten(value):
        raise BadValue(f"{key} would hold nothing", f"inv config --unset {key}")


def nested(flat: Mapping[Path, Any]) -> dict[str, Any]:
    """Paths and values as one table."""
    table: dict[str, Any] = {}
    for path, value in flat.items():
        inner = table
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
        inner[path[-1]] = value
    return table


def require_free(settings: Settings, patch: Mapping[str, Any]) -> None:
    """Raises BadValue for what a setting of the project or a command governs: the next `up` would take it back, and for
    what would break a promise."""
    for key in patch:
        for path in _paths(patch[key], (key,)):
            owner = _owner(settings, path)
            if owner:
                raise BadValue(f"{'.'.join(path)} is set by {owner}", _way_to(owner))
    for name, value in parameters_of(patch).items():
        _require_safe(settings, name, value)


def parameters_of(patch: Mapping[str, Any]) -> dict[str, Any]:
    """The Postgres parameters of a patch; None for those that go."""
    return dict((patch.get("postgresql") or {}).get("parameters") or {})


def _paths(value: Any, path: Path) -> list[Path]:
    if not isinstance(value, dict) or not value:
        return [path]
    return [found for key, inner in value.items() for found in _paths(inner, (*path, key))]


def _owner(settings: Settings, path: Path) -> str:
    """Who sets this; nothing when it is the operator's."""
    for owned, owner in BY_COMMAND.items():
        if path[: len(owned)] == owned:
            return owner
    top = path[0]
    if top in ("ttl", "loop_wait", "retry_timeout"):
        return f"the setting {top}"
    if top in ("synchronous_mode", "synchronous_node_count"):
        return "the setting durability"
    if top == "primary_stop_timeout" and not settings.stock:
        return "the setting ttl (half of it)"
    if top == "slots" and ((len(path) == 1 and settings.slots) or (path[1:2] and path[1] in settings.slots)):
        return "the setting slots"
    if top == "postgresql" and path[1] in LOCAL:
        return "each node's own patroni.conf, which Patroni prefers"
    return _owner_of_parameter(settings, path[2]) if path[:2] == PARAMETERS else ""


def _owner_of_parameter(settings: Settings, name: str) -> str:
    if name in settings.parameters:
        return f"the setting parameters ({name}: {settings.parameters[name]})"
    if name.startswith("recovery_target"):
        return "inv restore"
    owners = (owner for owner, names in NOT_OURS.items() if name in names)
    owner = next(owners, "")
    if owner:
        return f"the setting {owner}" if owner in ("durability", "tls") else owner
    return f"postgresql.recovery_conf.{name}" if name in RECOVERY else ""


def _way_to(owner: str) -> str:
    if owner.startswith("the setting"):
        return f"change {owner.partition(' (')[0]}, then inv up (docs/settings.md)"
    return owner if owner.startswith("inv ") else "docs/settings.md"


def _require_safe(settings: Settings, name: str, value: Any) -> None:
    if value is None:
        return
    text = words_of(value).strip().lower()
    values, why = UNSAFE.get(name, ((), ""))
    if text in values and not (name == "synchronous_commit" and settings.durability == "async"):
        raise BadValue(f"{name} {text} is refused: {why}", "docs/settings.md")
    if name == "wal_level" and text not in ("replica", "logical"):
        raise BadValue(f"wal_level {text} is refused: standbys need replica or logical", "docs/settings.md")
    least = LIMITS.get(name, 0)
    if (
        name in LIMITS
        and value is not None
        and (isinstance(value, bool) or not isinstance(value, int) or value < least)
    ):
        raise BadValue(f"{name} {text} is not a number of at least {least}, Patroni's minimum", "docs/settings.md")


def words_of(value: Any) -> str:
    """A value as a Postgres configuration file has it."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
