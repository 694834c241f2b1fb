"""What is kept with a study beside its trials: its run, its looks, its commands, its sharing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_bench.tuning.optuna_adapter import RUN_ID
from mnist_bench.tuning.shared_study import SharedStudy
from mnist_bench.tuning.storage import explained

if TYPE_CHECKING:
    import optuna

SEARCH = "mnist-bench search"
"""Attribute of a study that machines share."""
_LOOKS = "looks at the test split"
_COMMANDS = "commands"


class StudyAttributes:
    """What is kept with a study beside its trials."""

    name: str
    _study: optuna.Study
    _storage: str | None

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the study's own run; None where it has none yet."""
        with explained(self._storage):
            known: str | None = self._study.user_attrs.get(RUN_ID)
        return known

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        with explained(self._storage):
            self._study.set_user_attr(RUN_ID, run_id)

    @property
    def search(self) -> SharedStudy | None:
        """What machines that join must know; None where none can.

        Raises:
            BenchError: Another version wrote it.
        """
        with explained(self._storage):
            text = self._study.user_attrs.get(SEARCH)
        return SharedStudy.told(self.name, text) if text else None

    @search.setter
    def search(self, search: SharedStudy) -> None:
        with explained(self._storage):
            self._study.set_user_attr(SEARCH, search.to_text())

    @property
    def looks(self) -> tuple[str, ...]:
        """What was written down of each look at the test split, as JSON, the oldest first."""
        with explained(self._storage):
            return tuple(self._study.user_attrs.get(_LOOKS, ()))

    def keep_look(self, number: int, look: str) -> None:
        """Write a look down, or what came of it.

        Args:
            number: Of the look, from 1 on; a new one, or the last.
            look: As JSON.
        """
        with explained(self._storage):
            kept = [*self.looks[: number - 1], look]
            self._study.set_user_attr(_LOOKS, kept)

    @property
    def commands(self) -> tuple[str, ...]:
        """The command lines that have worked on it, the oldest first."""
        with explained(self._storage):
            return tuple(self._study.user_attrs.get(_COMMANDS, ()))

    def keep_command(self, command: str) -> None:
        """Write down that a command line works on it."""
        with explained(self._storage):
            self._study.set_user_attr(_COMMANDS, [*self.commands, command])
