"""`recover` as an operator meets it: what is left and what may be lost, and once that is accepted the cluster again."""

from __future__ import annotations

from typing import Any

from pgha import console
from pgha.cli.show_status import show_view
from pgha.console import Progress
from pgha.errors import LosesData
from pgha.model.words import time_of, time_text
from pgha.project.project import Project
from pgha.recover.account import Account, document, take_account
from pgha.recover.judging import Survivor, describe_archived
from pgha.recover.record import COMMAND, describe_recovery, read_recovery
from pgha.recover.recovering import Report, recover, resume
from pgha.status.document import view_document
from pgha.tools.wal import lsn_text


def recover_site(project: Project, accepted: bool, json: bool, progress: Progress) -> None:
    """Say what is left and what may be lost; with `accepted`, go on with what is left, or complete what was begun.

    Raises LosesData when it was not accepted, and nothing is touched then; and as `take_account` and `recover`.
    """
    half_done = read_recovery(project)
    if half_done:
        progress.note(describe_recovery(half_done))
        if not accepted:
            raise LosesData("The lost hosts are given up already, and what is left is not whole", COMMAND)
        _show_report(project, resume(project, half_done, progress), json)
        return
    account = take_account(project)
    if not json:
        _show_account(account)
    if not accepted:
        refusal = LosesData(
            f"{' and '.join(account.lost)} would be given up for ever, and perhaps what only they have", COMMAND
        )
        refusal.document = {"account": document(account)}
        raise refusal
    _show_report(project, recover(project, account, progress), json)


def _show_account(account: Account) -> None:
    rows = [
        (s.name, s.site, s.position.timeline, lsn_text(s.position.received) if s.position.received else "",
         lsn_text(s.position.replayed), _committed(s),
         "leads then" if s.name == account.candidate else "")
        for s in account.survivors
    ]  # fmt: skip
    columns = ("Left", "Data center", "TL", "Received", "Replayed", "Last commit", "")
    console.show(console.table("", columns, rows))
    for name, why in account.silent.items():
        console.show(f"{name} cannot be asked: {why}")
    for site, hosts in account.lost.items():
        console.show(f"taken for lost: {site} ({', '.join(f'{name}: {state}' for name, state in hosts.items())})")
    indexes = ", ".join(f"{name} at raft index {index}" for name, index in account.indexes.items())
    console.show(
        f"etcd: {len(account.indexes)} of {account.members} members is left to ask ({indexes}); made again from "
        f"{account.etcd}, alone"
    )
    known = account.known
    waits = f"; a commit waited for {known.waits_for} of {', '.join(known.standbys)}" if known.waits_for else ""
    written = f", had written up to {lsn_text(known.written)}" if known.written else ""
    console.show(f"as {account.etcd} has heard: {known.led or 'nobody'} led{written}{waits}")
    console.show(f"archive: {describe_archived(account.archived)}")
    console.show(f"may be lost: {account.may_lose}")


def _committed(survivor: Survivor) -> str:
    when = survivor.position.committed
    return "" if when is None else time_text(time_of(when))


def _show_report(project: Project, report: Report, json: bool) -> None:
    record = report.record
    if json:
        console.print_json(_document(report))
        return
    show_view("", project, report.view)
    for note in report.notes:
        console.show(note)
    may_lose = record.account.get("may_lose")
    if may_lose:
        console.show(f"may be lost, as said before: {may_lose}")
    console.show(f"given up: {', '.join(record.gone)}; their volumes are kept")
    console.show(f"{report.leader} leads on timeline {report.timeline} after {report.seconds:.1f} s")
    console.hint("inv scale makes the others anew; the clients' string still works")


def _document(report: Report) -> dict[str, Any]:
    return {
        "account": report.record.account,
        "gone": report.record.gone,
        "leader": report.leader,
        "timeline": report.timeline,
        "after": view_document(report.view),
        "notes": list(report.notes),
        "seconds": round(report.seconds, 1),
    }
