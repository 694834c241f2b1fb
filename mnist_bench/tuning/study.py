"""Optuna studies: opened or created, with their trials and attributes, and resumed."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from mnist_bench.core import locks
from mnist_bench.core.errors import BenchError
from mnist_bench.results.run import RunResult
from mnist_bench.tracking.database import sqlite_file
from mnist_bench.tuning.finalists import ranked
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.pruning import pruner_of
from mnist_bench.tuning.space import Parameter, Space, Value, is_integer
from mnist_bench.tuning.storage import JOURNAL, backend, explained, opening
from mnist_bench.tuning.trial import State, StudyTrial

if TYPE_CHECKING:
    import optuna

SAMPLER_SEED = 0
"""Fixed, so that a study that runs without interruption and in one thread is reproducible."""
SPEC = "mnist-bench"
"""Study attribute with its space, goal and images."""
_MACHINE_KIND = "machine kind"
_TEST_EVALUATIONS, _COMMANDS = "looks at the test split", "commands"
_REQUEST = "request"
RUN_ID, OBSERVED, PAPER, RETRY, REPEAT = "run_id", "seen", "paper", "retry_of", "repeat_of"
DURATION, MACHINE, MACHINE_ID, FAILED = "took_seconds", "machine", "machine_id", "failed"
"""User attributes of a trial."""
_OWNER, _REDUNDANT = "owner", "superfluous"
"""User attributes of trials of version 0.1.0: its process, with the machine's id; no retry."""
_MIN_TRIALS_FOR_IMPORTANCES = 10
"""Finished trials that importances need to be meaningful."""
_STATES: dict[str, State] = {
    "COMPLETE": "finished",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}


@contextlib.contextmanager
def study_lock(name: str, storage: str | None, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold a study, so that every RUNNING trial of this machine belongs to a dead process.

    Args:
        storage: Optuna's URL of a database; None for the journal.
        warn: Gets a line if the study can't be locked.

    Raises:
        BenchError: Another command on this machine works on it.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.lock_file(_lock_path(storage, name), 0))
        except TimeoutError:
            raise BenchError(
                f"another command is working on the study {name}",
                "wait until it ends, or choose another --study",
            ) from None
        except OSError as error:
            warn(
                f"can't lock the study {name} ({error.strerror or error}): make sure that no other "
                "command works on it"
            )
        yield


class Study:
    """An open study, which no other command on this machine may use at the same time.

    Args:
        storage: Optuna's URL of a database; None for the journal in `mlruns`.
        images: Digest of the images; None if unknown.

    Attributes:
        optuna: Optuna's study.
        is_new: Whether it was created now.

    Raises:
        BenchError: The storage can't be used, or has a study of that name with another space, goal
            or images.
    """

    def __init__(
        self, name: str, storage: str | None, space: Space, goal: Goal, *, images: str | None = None
    ) -> None:
        import optuna

        self.name = name
        self.storage, self._space, self._goal = storage, space, goal
        with explained(storage), opening(storage):
            self.optuna = optuna.create_study(
                storage=backend(storage),
                study_name=name,
                directions=list(goal.directions),
                load_if_exists=True,
                pruner=pruner_of(goal),
            )
            existing = self.optuna.get_trials(deepcopy=False)
            stored = self.optuna.user_attrs.get(SPEC)
        self.is_new = stored is None
        spec = {"space": space.model_dump_json(), "goal": goal.model_dump_json(), "images": images}
        if stored is None:
            self._initialize(spec, existing)
        elif differences := _differences(stored, space, goal, images):
            raise BenchError(
                f"the study {name} exists with other settings: {'; '.join(differences)}",
                "choose another --study, or leave these options out: --resume takes the study's",
            )
        with explained(storage):
            self.optuna.sampler = optuna.samplers.TPESampler(
                # Another seed after each interruption, or the first suggestions would repeat.
                seed=SAMPLER_SEED + (0 if self.is_new else len(existing)),
                group=space.is_conditional,
            )

    def _initialize(
        self, spec: dict[str, str | None], existing: list[optuna.trial.FrozenTrial]
    ) -> None:
        """Set up a new study. The spec is written last: without it the next process starts over."""
        directions = tuple(each.name.lower() for each in self.optuna.directions)
        all_papers = all(trial.user_attrs.get(PAPER) for trial in existing)
        if not all_papers or directions != self._goal.directions:
            raise BenchError(
                f"the study {self.name} exists with another search space or objective",
                "choose another --study",
            )
        with explained(self.storage):
            if not existing:
                self.optuna.enqueue_trial(self._space.paper_values(), user_attrs={PAPER: True})
            self.optuna.set_user_attr(SPEC, spec)

    @property
    def trials(self) -> tuple[StudyTrial, ...]:
        """All trials, by number."""
        with explained(self.storage):
            return tuple(map(_study_trial, self.optuna.get_trials(deepcopy=False)))

    @property
    def best(self) -> tuple[StudyTrial, ...]:
        """The best feasible trial, or the Pareto front; empty if no trial is feasible."""
        if len(self._goal.directions) == 1:
            return tuple(ranked(self.trials, self._goal)[:1])
        with explained(self.storage):
            return tuple(map(_study_trial, self.optuna.best_trials))

    def importances(self) -> dict[str, float]:
        """Importance of each parameter for the first value, which add up to 1.

        Empty with too few finished trials.
        """
        import optuna

        if sum(trial.state == "finished" for trial in self.trials) < _MIN_TRIALS_FOR_IMPORTANCES:
            return {}
        with explained(self.storage):
            found = optuna.importance.get_param_importances(
                self.optuna, target=lambda trial: float(trial.values[0])
            )
        return {name: float(share) for name, share in found.items()}

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        """The values of a new trial's active parameters."""
        chosen: dict[str, Value] = {}
        for name, parameter in self._space.parameters.items():
            if parameter.is_active(chosen):
                chosen[name] = suggested(trial, name, parameter)
        return chosen

    def enqueue_repeat(self, trial: StudyTrial) -> None:
        """Queue a repeat of a trial: same values, another seed, never pruned."""
        attributes = {REPEAT: trial.number, PAPER: trial.is_papers}
        with explained(self.storage):
            self.optuna.enqueue_trial(trial.chosen, user_attrs=attributes)

    def enqueue_retry(self, number: int) -> None:
        """Queue a trial again, with the same values, unless that was done.

        Call it before the trial is failed, or a kill in between loses it.
        """
        with explained(self.storage):
            trials = self.optuna.get_trials(deepcopy=False)
            if any(each.user_attrs.get(RETRY) == number for each in trials):
                return
            trial = trials[number]
            # Its process may have died before all values were suggested.
            chosen = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            attributes = {RETRY: number, PAPER: bool(trial.user_attrs.get(PAPER))}
            if REPEAT in trial.user_attrs:
                attributes[REPEAT] = trial.user_attrs[REPEAT]
            self.optuna.enqueue_trial(chosen, user_attrs=attributes)

    def resume(
        self,
        machine_id: str | None,
        load_run: Callable[[int], RunResult | None],
        log: Callable[[str], None],
    ) -> None:
        """Settle the trials of dead processes, and queue those again that failed or were lost.

        A trial that has ended according to MLflow counts; the others are retried. A trial whose own
        process failed is retried once; the paper's until it finishes.

        Args:
            machine_id: This machine; the study's lock is held.
            load_run: Returns the recorded run of a trial, or None.
            log: Gets a line about each trial.

        Raises:
            BenchError: Another machine is working on the study, or the storage can't be used.
        """
        trials, retried = self._trials_and_retried()
        for trial in trials:
            is_ours = self.storage is None or _machine_id(trial) in {None, machine_id}
            if trial.state.name == "RUNNING" and is_ours:
                run = None if trial.number in retried else load_run(trial.number)
                self._settle(trial, run, log)
        self._fail_stale()
        trials, retried = self._trials_and_retried()
        for trial in trials:
            attributes, number = trial.user_attrs, trial.number
            if trial.state.name == "FAIL" and number not in retried:
                is_cut_off = FAILED not in attributes and _REDUNDANT not in attributes
                has_failed = FAILED in attributes and (
                    attributes.get(PAPER) or RETRY not in attributes
                )
                if is_cut_off or has_failed:
                    self.enqueue_retry(number)
                    log(f"trial {number} {'was cut off' if is_cut_off else 'failed'}; retrying it")

    def _trials_and_retried(self) -> tuple[list[optuna.trial.FrozenTrial], set[int | None]]:
        with explained(self.storage):
            trials = self.optuna.get_trials(deepcopy=False)
        return trials, {trial.user_attrs.get(RETRY) for trial in trials}

    def _fail_stale(self) -> None:
        """Fail the trials of machines that are gone.

        Raises:
            BenchError: Another machine is working on the study.
        """
        import optuna

        if self.storage is None:
            return  # only a database has heartbeats
        with explained(self.storage):
            optuna.storages.fail_stale_trials(self.optuna)
            running = self.optuna.get_trials(states=[optuna.trial.TrialState.RUNNING])
        for trial in running:
            raise BenchError(
                f"trial {trial.number} of the study {self.name} is running on "
                f"{trial.user_attrs.get(MACHINE) or 'another machine'}",
                "wait until it ends there; if that machine is gone, try again in two minutes",
            )

    def _settle(
        self,
        frozen: optuna.trial.FrozenTrial,
        run: RunResult | None,
        log: Callable[[str], None],
    ) -> None:
        """Tell the study how a trial ended whose process died before it could."""
        import optuna

        number = frozen.number
        if run is None or run.status not in {"finished", "pruned"}:
            self.enqueue_retry(number)
            with explained(self.storage):
                self.optuna.tell(number, state=optuna.trial.TrialState.FAIL)
            log(f"the process of trial {number} died; retrying the trial")
            return
        with explained(self.storage):
            # Optuna has no public way to open a trial that another process asked for.
            trial = optuna.trial.Trial(self.optuna, frozen._trial_id)  # noqa: SLF001
            trial.set_user_attr(DURATION, sum(run.seconds.values()))
            self.record(trial, run)
            if run.status == "finished":
                self.optuna.tell(trial, list(self._goal.values(run)))
            else:
                self.optuna.tell(trial, state=optuna.trial.TrialState.PRUNED)
        log(f"trial {number} had ended before its process died: it counts")

    def record(self, trial: optuna.Trial, run: RunResult) -> None:
        """Save what was observed of a trial's run, and how far it violates each constraint.

        The sampler learns from the violations, of pruned trials too.
        """
        if run.run_id is not None:
            trial.set_user_attr(RUN_ID, run.run_id)
            observed = {
                "train_seconds": run.train_seconds_total,
                "peak_rss_bytes": run.peak_rss_bytes,
                "verdict": run.verdict,
            }
            trial.set_user_attr(OBSERVED, observed)
        if run.status in {"finished", "pruned"} and run.evaluations:
            for name, value in self._goal.constraints(run).items():
                trial.set_constraint(name, value)

    def _attribute(self, name: str, default: Any = None) -> Any:
        with explained(self.storage):
            return self.optuna.user_attrs.get(name, default)

    def _set_attribute(self, name: str, value: object) -> None:
        with explained(self.storage):
            self.optuna.set_user_attr(name, value)

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the study's run; None if it has none yet."""
        run_id: str | None = self._attribute(RUN_ID)
        return run_id

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        self._set_attribute(RUN_ID, run_id)

    def check_machine_kind(self, kind: str) -> None:
        """Check that times of this kind of machine are comparable with the study's, if it has any.

        Raises:
            BenchError: The study compares times and was started on another kind.
        """
        started_on = self._attribute(_MACHINE_KIND)
        if started_on is None:
            self._set_attribute(_MACHINE_KIND, kind)
        else:
            self._goal.check_machine_kind(self.name, started_on, kind)

    @property
    def test_evaluations(self) -> tuple[str, ...]:
        """Evaluations on the test split as JSON, the oldest first."""
        return tuple(self._attribute(_TEST_EVALUATIONS, ()))

    def save_test_evaluation(self, number: int, evaluation: str) -> None:
        """Save an evaluation on the test split as JSON, or update it.

        Args:
            number: From 1 on; a new one or the last one.
        """
        saved = [*self.test_evaluations[: number - 1], evaluation]
        self._set_attribute(_TEST_EVALUATIONS, saved)

    def note_request(self, request: dict[str, object]) -> list[str]:
        """Save what a command asks for, and say what it asks for otherwise than the one before."""
        before = self._attribute(_REQUEST, request)
        self._set_attribute(_REQUEST, request)
        return _changed(before, request)

    @property
    def commands(self) -> tuple[str, ...]:
        """Command lines that worked on the study, the oldest first."""
        return tuple(self._attribute(_COMMANDS, ()))

    def add_command(self, command: str) -> None:
        """Append a command line."""
        self._set_attribute(_COMMANDS, [*self.commands, command])


def suggested(trial: optuna.Trial, name: str, parameter: Parameter) -> Value:
    """Suggest a value of a parameter."""
    if parameter.choices is not None:
        return cast("Value", trial.suggest_categorical(name, parameter.choices))
    low, high = parameter.extremes
    if is_integer(name):
        return trial.suggest_int(name, int(low), int(high), log=parameter.log)
    return trial.suggest_float(name, float(low), float(high), log=parameter.log)


def _study_trial(trial: optuna.trial.FrozenTrial) -> StudyTrial:
    attributes, state = trial.user_attrs, _STATES[trial.state.name]
    duration_seconds = trial.duration.total_seconds() if trial.duration else None
    return StudyTrial(
        number=trial.number,
        state=state,
        chosen=dict(trial.params),
        values=tuple(trial.values) if state == "finished" and trial.values else (),
        missed=dict(trial.constraints),
        curve=dict(trial.intermediate_values),
        # A later process may have settled the trial: Optuna's duration then includes idle time.
        seconds=attributes.get(DURATION, duration_seconds),
        begun_at_ms=int(trial.datetime_start.timestamp() * 1_000) if trial.datetime_start else None,
        run_id=attributes.get(RUN_ID),
        **attributes.get(OBSERVED, {}),
        is_papers=bool(attributes.get(PAPER)),
        retry_of=attributes.get(RETRY),
        repeat_of=attributes.get(REPEAT),
        machine=attributes.get(MACHINE),
        machine_id=_machine_id(trial),
    )


def _machine_id(trial: optuna.trial.FrozenTrial) -> str | None:
    """Id of the machine that trained a trial; None if unknown."""
    machine_id: str | None = trial.user_attrs.get(MACHINE_ID)
    if machine_id is None and _OWNER in trial.user_attrs:
        machine_id = json.loads(trial.user_attrs[_OWNER]).get("machine_id")
    return machine_id


def recorded_space_and_goal(name: str, storage: str | None) -> tuple[Space, Goal] | None:
    """What an existing study searches and aims at; None if its first command recorded nothing.

    Raises:
        BenchError: The storage can't be used, or another version wrote the study.
    """
    import optuna

    with explained(storage), opening(storage):
        spec = optuna.load_study(study_name=name, storage=backend(storage)).user_attrs.get(SPEC)
    return _parsed(spec) if spec else None


def _parsed(spec: dict[str, str]) -> tuple[Space, Goal]:
    try:
        return (
            Space.model_validate_json(spec["space"]),
            Goal.model_validate_json(spec["goal"]),
        )
    except ValidationError as error:
        raise BenchError(
            "the study was started by another version of mnist-bench, with other hyperparameters",
            "choose another --study, or continue it with that version",
        ) from error


def _differences(stored: dict[str, Any], space: Space, goal: Goal, images: str | None) -> list[str]:
    """What a study can't be continued with, since its trials would not compare."""
    known = {stored.get("images"), images} - {None}  # old studies have no digest
    others = ["another set of images"] if len(known) > 1 else []
    return [*_changed(_settings(*_parsed(stored)), _settings(space, goal)), *others]


def _settings(space: Space, goal: Goal) -> dict[str, object]:
    """What trials of one study have in common; not the title and the name of the images."""
    return {
        **space.model_dump(exclude={"title", "dataset", "parameters"}),
        **goal.model_dump(exclude={"target_accuracy", "train_seconds"}),  # the space's
        **{name: str(parameter) for name, parameter in space.parameters.items()},
    }


def _changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """Name of each setting that has changed, with both values."""
    names = dict.fromkeys([*before, *after])
    return [
        f"{name} {_or_none(before.get(name))}, now {_or_none(after.get(name))}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)


def _lock_path(storage: str | None, name: str) -> Path:
    if storage is None:
        return JOURNAL.with_name(f".{name}.study.lock")
    file = sqlite_file(storage)
    where = file.resolve() if file else storage
    digest = hashlib.sha256(f"{where} {name}".encode()).hexdigest()[:16]
    return locks.state_folder() / "studies" / f"{digest}.lock"
