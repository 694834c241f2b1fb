"""Configurations of a scenario."""

from __future__ import annotations

import factories

from mnist_bench.analysis.configurations import configurations
from mnist_bench.results.run_summary import summarise


def test_variables_that_change_the_computation_make_a_configuration() -> None:
    variables = "TF_ENABLE_ONEDNN_OPTS=0"
    runs = [factories.run(seed=0), factories.run(seed=1, environment=variables)]
    found = configurations(summarise(runs))
    assert [each.name for each in found] == ["table-1 with TF_ENABLE_ONEDNN_OPTS=0", "table-1"]
    assert [[run.seed for run in each.runs] for each in found] == [[1], [0]]
    # Of a user's own scenario the first run says what is usual.
    own = summarise([run.model_copy(update={"scenario": "mine"}) for run in reversed(runs)])
    assert [each.name for each in configurations(own)] == ["mine with plain environment", "mine"]
