"""Optuna's trials in the suite's words: what is asked of one, and what one says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.tuning.space import Parameter, Value, is_integer
from mnist_bench.tuning.trial import State, StudyTrial

if TYPE_CHECKING:
    import optuna

RUN_ID, SEEN, PAPER, RETRY, REPEAT = "run_id", "seen", "paper", "retry_of", "repeat_of"
TOOK, MACHINE, OWNER, ELSEWHERE = "took_seconds", "machine", "owner", "elsewhere"
"""Attributes of a trial that are the suite's own."""


def suggested(trial: optuna.Trial, name: str, parameter: Parameter) -> Value:
    """Have Optuna choose a value of a parameter."""
    if parameter.choices is not None:
        value = trial.suggest_categorical(name, parameter.choices)
        if value is None:
            raise ValueError(f"{name} has a choice of nothing")
        return value
    low, high = parameter.low, parameter.high
    if low is None or high is None:
        raise ValueError(f"{name} has no range")
    if is_integer(name):
        return trial.suggest_int(name, int(low), int(high), log=parameter.log)
    return trial.suggest_float(name, float(low), float(high), log=parameter.log)


def study_trial(trial: optuna.trial.FrozenTrial) -> StudyTrial:
    """A trial of Optuna's in the suite's words."""
    states: dict[str, State] = {
        "COMPLETE": "finished",
        "PRUNED": "pruned",
        "FAIL": "failed",
        "RUNNING": "running",
        "WAITING": "waiting",
    }
    state = states[trial.state.name]
    owner, elsewhere = (
        ProcessIdentity.told(trial.user_attrs.get(OWNER)),
        trial.user_attrs.get(ELSEWHERE),
    )
    begun = trial.datetime_start if elsewhere is None else None  # by no clock that is known here
    return StudyTrial(
        number=trial.number,
        state=state,
        chosen=dict(trial.params),
        values=tuple(trial.values) if state == "finished" and trial.values else (),
        missed=dict(trial.constraints),
        curve=dict(trial.intermediate_values),
        # One that another process ended was not at work until then.
        seconds=trial.user_attrs.get(
            TOOK, trial.duration.total_seconds() if trial.duration else None
        ),
        begun_at_ms=int(begun.timestamp() * 1_000) if begun else None,
        run_id=trial.user_attrs.get(RUN_ID),
        **trial.user_attrs.get(SEEN, {}),
        is_papers=bool(trial.user_attrs.get(PAPER)),
        retry_of=trial.user_attrs.get(RETRY),
        repeat_of=trial.user_attrs.get(REPEAT),
        machine=trial.user_attrs.get(MACHINE) if elsewhere is None else None,
        machine_id=elsewhere or (owner.machine_id if owner else None),
    )


def importances_of(study: optuna.Study) -> dict[str, float]:
    """How much each parameter matters for the first value of the trials, adding up to 1."""
    import optuna

    found = optuna.importance.get_param_importances(
        study, target=lambda trial: float(trial.values[0])
    )
    return {name: float(share) for name, share in found.items()}
