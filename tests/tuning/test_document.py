"""A study's JSON document: what is kept, and its summary."""

from __future__ import annotations

import json

from factories import (
    LIMITED_GOAL,
    STUDY_TRIALS,
    confirmed_study,
    pareto_study,
    study_document,
)

from mnist_bench.tuning.document import StudyDocument


def test_document_round_trip() -> None:
    document = confirmed_study()
    text = document.model_dump_json(indent=2)
    assert StudyDocument.model_validate_json(text) == document
    assert StudyDocument.model_validate_json(pareto_study().model_dump_json()) == pareto_study()
    content = json.loads(text)
    # Fields may be added but never renamed, since other programs read them.
    assert list(content) == [
        "schema", "study", "dataset", "dataset_digest", "machine", "space", "goal",
        "trials", "best", "finalists", "candidate", "margin", "importances", "search_seconds",
        "looks", "commands", "ended", "is_whole",
    ]  # fmt: skip
    assert list(content["trials"][0]) == [
        "number", "state", "chosen", "values", "missed", "curve", "seconds", "begun_at_ms",
        "run_id", "is_papers", "retry_of", "repeat_of", "train_seconds", "peak_rss_bytes",
        "verdict", "machine", "machine_id",
    ]  # fmt: skip
    assert content["trials"][3]["curve"] == {"5": 0.5}
    assert content["looks"][1]["proof"]["mcnemar"]["only_candidate"] == 41


def test_line_of_a_study() -> None:
    line = study_document().line("its-run")
    best = STUDY_TRIALS[1]
    assert (line.study, line.run_id, line.objective) == ("mine", "its-run", LIMITED_GOAL.objective)
    assert (line.trials, line.finished, line.value_names) == (6, 3, LIMITED_GOAL.names)
    assert [(t.number, t.run_id, t.values) for t in line.best] == [(1, best.run_id, best.values)]
    assert (line.candidate, line.candidate_values, line.is_whole) == (1, best.values, True)
    infeasible = study_document(trials=STUDY_TRIALS[2:], best=(), candidate=None).line(None)
    assert (infeasible.best, infeasible.candidate, infeasible.candidate_values) == ((), None, ())
    assert len(pareto_study().line(None).best) == 3
