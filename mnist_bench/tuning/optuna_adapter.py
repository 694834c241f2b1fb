"""Conversion between Optuna's trials and the suite's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.tuning.space import Parameter, Value, is_integer
from mnist_bench.tuning.trial import State, StudyTrial

if TYPE_CHECKING:
    import optuna

RUN_ID, OBSERVED, PAPER, RETRY, REPEAT = "run_id", "seen", "paper", "retry_of", "repeat_of"
DURATION, MACHINE, OWNER, ELSEWHERE = "took_seconds", "machine", "owner", "elsewhere"
"""User attributes of a trial."""


def suggested(trial: optuna.Trial, name: str, parameter: Parameter) -> Value:
    """Suggest a value of a parameter."""
    if parameter.choices is not None:
        value = trial.suggest_categorical(name, parameter.choices)
        if value is None:
            raise ValueError(f"{name} has None among its choices")
        return value
    low, high = parameter.low, parameter.high
    if low is None or high is None:
        raise ValueError(f"{name} has no range")
    if is_integer(name):
        return trial.suggest_int(name, int(low), int(high), log=parameter.log)
    return trial.suggest_float(name, float(low), float(high), log=parameter.log)


def study_trial(trial: optuna.trial.FrozenTrial) -> StudyTrial:
    """Convert a trial of Optuna's."""
    states: dict[str, State] = {
        "COMPLETE": "finished",
        "PRUNED": "pruned",
        "FAIL": "failed",
        "RUNNING": "running",
        "WAITING": "waiting",
    }
    state = states[trial.state.name]
    owner, elsewhere = (
        ProcessIdentity.from_json(trial.user_attrs.get(OWNER)),
        trial.user_attrs.get(ELSEWHERE),
    )
    started = trial.datetime_start if elsewhere is None else None  # another machine's clock
    return StudyTrial(
        number=trial.number,
        state=state,
        chosen=dict(trial.params),
        values=tuple(trial.values) if state == "finished" and trial.values else (),
        missed=dict(trial.constraints),
        curve=dict(trial.intermediate_values),
        # Another process may have ended the trial: Optuna's duration then includes idle time.
        seconds=trial.user_attrs.get(
            DURATION, trial.duration.total_seconds() if trial.duration else None
        ),
        begun_at_ms=int(started.timestamp() * 1_000) if started else None,
        run_id=trial.user_attrs.get(RUN_ID),
        **trial.user_attrs.get(OBSERVED, {}),
        is_papers=bool(trial.user_attrs.get(PAPER)),
        retry_of=trial.user_attrs.get(RETRY),
        repeat_of=trial.user_attrs.get(REPEAT),
        machine=trial.user_attrs.get(MACHINE) if elsewhere is None else None,
        machine_id=elsewhere or (owner.machine_id if owner else None),
    )


def importances_of(study: optuna.Study) -> dict[str, float]:
    """Importance of each parameter for the first value; the sum is 1."""
    import optuna

    found = optuna.importance.get_param_importances(
        study, target=lambda trial: float(trial.values[0])
    )
    return {name: float(share) for name, share in found.items()}
