"""User attributes of a study: MLflow run, evaluations on the test split, commands, search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_bench.tuning.optuna_adapter import RUN_ID
from mnist_bench.tuning.shared_study import SharedStudy
from mnist_bench.tuning.storage import explained

if TYPE_CHECKING:
    import optuna

SEARCH = "mnist-bench search"
"""Study attribute with the search that machines share."""
_TEST_EVALUATIONS = "looks at the test split"
_COMMANDS = "commands"


class StudyAttributes:
    """User attributes of a study."""

    name: str
    _study: optuna.Study
    _storage: str | None

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the study's run; None if it has none yet."""
        with explained(self._storage):
            run_id: str | None = self._study.user_attrs.get(RUN_ID)
        return run_id

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        with explained(self._storage):
            self._study.set_user_attr(RUN_ID, run_id)

    @property
    def search(self) -> SharedStudy | None:
        """Search that other machines can join; None if the study is not shared.

        Raises:
            BenchError: Another version wrote it.
        """
        with explained(self._storage):
            text = self._study.user_attrs.get(SEARCH)
        return SharedStudy.from_text(self.name, text) if text else None

    @search.setter
    def search(self, search: SharedStudy) -> None:
        with explained(self._storage):
            self._study.set_user_attr(SEARCH, search.to_text())

    @property
    def test_evaluations(self) -> tuple[str, ...]:
        """Evaluations on the test split as JSON, the oldest first."""
        with explained(self._storage):
            return tuple(self._study.user_attrs.get(_TEST_EVALUATIONS, ()))

    def save_test_evaluation(self, number: int, evaluation: str) -> None:
        """Save an evaluation on the test split, or update it.

        Args:
            number: From 1 on; a new one or the last one.
            evaluation: JSON.
        """
        with explained(self._storage):
            saved = [*self.test_evaluations[: number - 1], evaluation]
            self._study.set_user_attr(_TEST_EVALUATIONS, saved)

    @property
    def commands(self) -> tuple[str, ...]:
        """Command lines that worked on the study, the oldest first."""
        with explained(self._storage):
            return tuple(self._study.user_attrs.get(_COMMANDS, ()))

    def add_command(self, command: str) -> None:
        """Append a command line."""
        with explained(self._storage):
            self._study.set_user_attr(_COMMANDS, [*self.commands, command])
