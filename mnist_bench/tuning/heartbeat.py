"""Optuna's database storage, with heartbeats that survive outages of the database."""

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
"""Between two heartbeats of a trial; after twice as long without one the trial is stale."""
_UNOWNED_SECONDS = 60.0
"""A trial that runs this long without an owner lost its process right after it was created."""
_POSTGRESQL: dict[str, Any] = {
    "connect_timeout": 10,
    # A peer that is silent for a minute is gone: https://www.postgresql.org/docs/current/libpq-connect.html
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    # A machine that is stopped within a transaction blocks the others no longer than this.
    "options": "-c lock_timeout=30s -c idle_in_transaction_session_timeout=60s",
}
_MYSQL = {"connect_timeout": 10}
_CONNECT_ARGS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("postgresql", "postgresql+psycopg2", "postgresql+psycopg"), _POSTGRESQL),
    **dict.fromkeys(("mysql", "mysql+pymysql", "mysql+mysqldb"), _MYSQL),
}
"""Connect arguments of the usual drivers; other drivers get none."""


class HeartbeatStorage(optuna.storages.RDBStorage):
    """A database that many machines share and that may be unreachable for a while.

    Args:
        url: SQLAlchemy's URL.
    """

    def __init__(self, url: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(url, _engine_options(url), heartbeat_interval=HEARTBEAT_SECONDS)

    def record_heartbeat(self, trial_id: int) -> None:
        """Record a heartbeat; a failure is ignored, since the next one will do.

        Optuna's thread would end at the first failure and print a traceback.
        """
        with suppress(optuna.exceptions.OptunaError, SQLAlchemyError):
            super().record_heartbeat(trial_id)

    def record_first_heartbeat(self, trial_id: int) -> None:
        """Record the first heartbeat of a trial: Optuna never fails a trial without one.

        Raises:
            OptunaError: The database does not answer.
        """
        super().record_heartbeat(trial_id)


class Heartbeat:
    """Thread that records heartbeats of a trial until it is stopped or its process ends.

    Args:
        trial_id: The storage's id of the trial, not its number.

    Raises:
        OptunaError: The database does not answer.
    """

    def __init__(self, storage: HeartbeatStorage, trial_id: int) -> None:
        storage.record_first_heartbeat(trial_id)
        self._stopped = threading.Event()
        threading.Thread(target=self._send, args=(storage, trial_id), daemon=True).start()

    def stop(self) -> None:
        """Stop; a heartbeat in progress may still arrive."""
        self._stopped.set()

    def _send(self, storage: HeartbeatStorage, trial_id: int) -> None:
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            storage.record_heartbeat(trial_id)


class UnownedTrials:
    """Trials whose process died before their first heartbeat, which Optuna never fails.

    Only this machine's clock is used: clocks of other machines may be hours off.

    Args:
        clock: Monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[int, float] = {}

    def fail_expired(self, study: optuna.Study, numbers: Iterable[int]) -> list[int]:
        """Fail trials that have had no owner for too long.

        Args:
            numbers: All trials that are RUNNING now without an owner.

        Returns:
            Numbers of the failed trials.
        """
        now = self._clock()
        self._since = {number: self._since.get(number, now) for number in numbers}
        expired = [n for n, since in self._since.items() if now - since > _UNOWNED_SECONDS]
        for number in expired:
            study.tell(number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
        return expired


def _engine_options(url: str) -> dict[str, Any]:
    """Engine options: time out on a silent server, reconnect after a cut connection."""
    scheme = urlsplit(url).scheme
    if scheme.startswith("sqlite"):
        return {}
    return {"pool_pre_ping": True, "connect_args": _CONNECT_ARGS.get(scheme, {})}
