"""Optuna's storage in a database, with heartbeats that outlive its outages."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import optuna
from sqlalchemy.exc import SQLAlchemyError

HEARTBEAT_SECONDS = 30
"""Between two signs of life of a trial; after twice as long without one it is taken for lost."""
_NAMELESS_SECONDS = 60.0
"""For so long a trial was taken and nobody said a word: who took it died at that moment."""
_POSTGRESQL: dict[str, Any] = {
    "connect_timeout": 10,
    # Whoever is silent for a minute is gone: https://www.postgresql.org/docs/current/libpq-connect.html
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    # A machine that was stopped amid a transaction keeps the others waiting no longer than this.
    "options": "-c lock_timeout=30s -c idle_in_transaction_session_timeout=60s",
}
_MYSQL = {"connect_timeout": 10}
_CONNECT_ARGS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("postgresql", "postgresql+psycopg2", "postgresql+psycopg"), _POSTGRESQL),
    **dict.fromkeys(("mysql", "mysql+pymysql", "mysql+mysqldb"), _MYSQL),
}
"""What the usual drivers take; of others nothing is known."""


class HeartbeatStorage(optuna.storages.RDBStorage):
    """A database that many machines work on; it may be gone for a while.

    Args:
        url: SQLAlchemy's.
    """

    def __init__(self, url: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(url, _engine_options(url), heartbeat_interval=HEARTBEAT_SECONDS)

    def record_heartbeat(self, trial_id: int) -> None:
        """Tell that a trial is alive; where the database does not answer, the next time will do.

        Optuna's thread would end with the first that fails, its traceback on the screen.
        """
        with suppress(optuna.exceptions.OptunaError, SQLAlchemyError):
            super().record_heartbeat(trial_id)

    def begin_to_beat(self, trial_id: int) -> None:
        """The first sign of a trial's life: a trial that gave none is never missed.

        Raises:
            OptunaError: The database does not answer.
        """
        super().record_heartbeat(trial_id)


class Heartbeat:
    """Tells from now on that a trial is alive, until it is stopped or its process ends.

    Args:
        storage: Where the trial is kept.
        trial_id: The storage's number of the trial.

    Raises:
        OptunaError: The database does not answer.
    """

    def __init__(self, storage: HeartbeatStorage, trial_id: int) -> None:
        storage.begin_to_beat(trial_id)
        self._stopped = threading.Event()
        threading.Thread(target=self._beat, args=(storage, trial_id), daemon=True).start()

    def stop(self) -> None:
        """It beats no more; a beat that is under way may come a moment later."""
        self._stopped.set()

    def _beat(self, storage: HeartbeatStorage, trial_id: int) -> None:
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            storage.record_heartbeat(trial_id)


class Nameless:
    """Misses trials whose process died before their first heartbeat: Optuna never does.

    By this machine's clock alone: those of others may be hours off.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[int, float] = {}

    def end(self, study: optuna.Study, numbers: Iterable[int]) -> list[int]:
        """Fail those that have been so for too long.

        Args:
            study: Whose trials they are.
            numbers: Of all that are RUNNING now and name nobody.

        Returns:
            The numbers of those that were failed.
        """
        now = self._clock()
        self._since = {number: self._since.get(number, now) for number in numbers}
        dead = [n for n, since in self._since.items() if now - since > _NAMELESS_SECONDS]
        for number in dead:
            study.tell(number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
        return dead


def _engine_options(url: str) -> dict[str, Any]:
    """A server that falls silent is given up in time, a connection that it cut made anew."""
    scheme = urlsplit(url).scheme
    if scheme.startswith("sqlite"):
        return {}
    return {"pool_pre_ping": True, "connect_args": _CONNECT_ARGS.get(scheme, {})}
