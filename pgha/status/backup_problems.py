"""What is wrong with archiving, the repository, its backups, and the jobs that take them."""

from __future__ import annotations

from collections.abc import Iterator

from pgha.errors import PghaError
from pgha.model.words import counted, time_text
from pgha.project.certificates import ROTATE
from pgha.status.kinds import Kind, Problem, first_line
from pgha.status.seen import Seen
from pgha.tools import pgbackrest, postgres, wal
from pgha.tools.leader import Facts


def repository(seen: Seen) -> Iterator[Problem]:
    """The repository, its stanza, and whether what is in it is of this database and of its present history."""
    if isinstance(seen.stanza, PghaError):
        yield Problem(Kind.REPOSITORY_UNREADABLE, "", f"the repository cannot be read: {first_line(seen.stanza)}")
    elif seen.stanza and not seen.stanza.missing:
        if seen.stanza.empty:
            yield Problem(Kind.NO_BACKUP, "", "there is no backup: nothing can be restored", "inv backup")
        elif not seen.stanza.ok:
            yield Problem(Kind.REPOSITORY_UNREADABLE, "", f"the stanza is not well: {seen.stanza.message}", "inv info")
        if seen.system_id and seen.stanza.system_id and seen.stanza.system_id != seen.system_id:
            sentence = f"the stanza is of another database ({seen.stanza.system_id}), this one is not backed up"
            yield Problem(Kind.STANZA_OF_ANOTHER, "", sentence, "docs/restore.md")
        elif seen.stanza.backups and seen.newest is None:
            sentence = "every backup is of a history that was left: the present one cannot be restored"
            yield Problem(Kind.BACKUP_OF_ANOTHER, "", sentence, "inv backup")


def archiving(seen: Seen) -> Iterator[Problem]:
    """The leader's archiver fails at a segment."""
    if isinstance(seen.archiver, postgres.Archiver) and seen.archiver.failing:
        sentence = f"archiving fails at {seen.archiver.last_failed}"
        yield Problem(Kind.ARCHIVING_FAILS, seen.leader or "", sentence, f"inv logs --node {seen.leader}")


def archive_gap(seen: Seen) -> Iterator[Problem]:
    """Until a backup begins after it: then nothing has to pass there any more."""
    gap = seen.facts.archive_gap if isinstance(seen.facts, Facts) else ()
    newest = seen.newest
    begun = wal.parse_segment(newest.wal_start)[1] if newest else 0
    if gap and wal.parse_segment(gap[-1])[1] >= begun:
        sentence = f"the archive lacks {wal.name_some(gap)}, and nobody has it: no restore can pass there"
        yield Problem(Kind.ARCHIVE_GAP, seen.leader or "", sentence, "inv backup")


def backups(seen: Seen) -> Iterator[Problem]:
    """The newest backup was restored and is not good, or could not be checked."""
    verified = seen.verified
    if verified and not verified.ok:
        kind, verdict = Kind.BACKUP_NOT_GOOD, "is not good"
        if not verified.checked:
            kind, verdict = Kind.BACKUP_UNCHECKED, f"could not be checked on {verified.node}"
        lines = verified.error.strip().splitlines() or ["no reason given"]
        yield Problem(kind, "", f"backup {verified.label} {verdict}: {lines[-1]}", "inv verify")


def jobs(seen: Seen) -> Iterator[Problem]:
    """Jobs of the present schedule, and the verification, which an operator may start too; until a later success."""
    scheduled = {job.name for job in seen.jobs} | {"verify-repository"}
    newest = seen.newest
    for job, result in seen.results.items():
        overtaken = job in pgbackrest.TYPES and newest is not None and newest.stop > result.ended
        if result.exit_code and job in scheduled and not overtaken:
            why = f" ({result.words})" if result.words else ""
            sentence = f"the job {job} ended with exit code {result.exit_code}{why}"
            yield Problem(Kind.JOB_FAILED, "", sentence, f"inv logs --job {job}")


EXPIRES = 30
"""Days before a certificate ends from which on it is a problem."""


def certificates(seen: Seen) -> Iterator[Problem]:
    """They are made together, and are replaced together."""
    if isinstance(seen.terms, PghaError):
        yield Problem(Kind.CERTIFICATE_EXPIRES, "", first_line(seen.terms), seen.terms.hint)
    elif seen.terms and 0 <= seen.terms[0].days_left < EXPIRES:
        term = seen.terms[0]
        left = f"ends in {counted(term.days_left, 'day')}: {time_text(term.ends, 'minutes')}"
        sentence = f"the certificate of {term.whose} {left}"
        yield Problem(Kind.CERTIFICATE_EXPIRES, "", sentence, "inv rotate --what certificates")


def certificates_over(seen: Seen) -> Iterator[Problem]:
    """With TLS nobody understands anybody then, which the other problems come from; and nobody is trusted any more who
    could be replaced one after another."""
    if not isinstance(seen.terms, PghaError) and seen.terms and seen.terms[0].days_left < 0:
        term = seen.terms[0]
        sentence = f"the certificate of {term.whose} has ended: {time_text(term.ends, 'minutes')}"
        yield Problem(Kind.CERTIFICATE_EXPIRES, "", sentence, ROTATE)
