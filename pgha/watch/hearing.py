"""A leader that does not answer this host is asked by another member, while the looking goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from pgha.cluster.view import Hear
from pgha.errors import PghaError
from pgha.tools.patroni import NodeState

T = TypeVar("T")

FIRST = 4.0
"""Seconds to wait for the first word of a leader that never answered; curl gives it up after 3."""


def in_background(work: Callable[[], T]) -> Future[T]:
    """In a thread that does not keep this process from ending."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


class Hearing:
    """What was heard last of a leader; each question begins another one, and waits only when nothing is known."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._known: dict[str, NodeState | None] = {}
        self._asking: tuple[str, Future[NodeState | None]] | None = None

    def knows(self, node: NodeState) -> None:
        """The leader answered itself."""
        self._known = {node.name: node}
        self._asking = None

    def __call__(self, asked: str, leader: str) -> NodeState | None:
        if self._asking is None or self._asking[0] != leader:
            self._asking = leader, in_background(lambda: self._hear(asked, leader))
        future = self._asking[1]
        wait([future], timeout=0 if leader in self._known else FIRST)
        if future.done():
            self._asking = None
            self._known = {leader: self._result(future)}
        return self._known.get(leader)

    @staticmethod
    def _result(future: Future[NodeState | None]) -> NodeState | None:
        try:
            return future.result()
        except PghaError:
            return None
