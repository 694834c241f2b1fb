"""Optuna's storage in a database, with heartbeats that outlive its outages."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import optuna
from sqlalchemy.exc import SQLAlchemyError

HEARTBEAT_SECONDS = 30
"""Between two signs of life of a trial; after twice as long without one it is taken for lost."""
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


class BeatingStorage(optuna.storages.RDBStorage):
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


def _engine_options(url: str) -> dict[str, Any]:
    """A server that falls silent is given up in time, a connection that it cut made anew."""
    scheme = urlsplit(url).scheme
    if scheme.startswith("sqlite"):
        return {}
    return {"pool_pre_ping": True, "connect_args": _CONNECT_ARGS.get(scheme, {})}
