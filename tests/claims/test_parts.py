"""What claims are measured by, and what of it fits a budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.claims import declared
from mnist_bench.claims.parts import INPUTS, TABLE_1, fitting, inputs_of, numbers
from mnist_bench.scenarios import paper, scenario

ALL = tuple(range(1, 13))


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ((), None),
        (("table-1",), None),
        (("./claim-3.toml",), None),
        (("claims",), ALL),
        (("claim-3",), (3,)),
        (("claim-12", "claim-3", "claim-3"), (3, 12)),
        (("claim-3", "claims"), ALL),
    ],
)
def test_numbers(names: tuple[str, ...], wanted: tuple[int, ...] | None) -> None:
    assert numbers(names) == wanted


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("claims", "table-1"), "claims are run by themselves"),
        (("claim-13",), "there is no claim 13: they are 1 to 12"),
        (("claim-0", "claim-1"), "there is no claim 0"),
    ],
)
def test_numbers_that_are_none(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        numbers(names)


def test_the_claims_are_twelve_each_declared_whole() -> None:
    assert tuple(claim.number for claim in declared.CLAIMS) == ALL
    for claim in declared.CLAIMS:
        assert claim.criteria
        names = [criterion.name for criterion in claim.criteria]
        assert len(set(names)) == len(names)
        for criterion in claim.criteria:
            assert criterion.rule, f"claim {claim.number}: {criterion.name} has no rule"


def test_every_claim_has_a_part_and_every_part_is_there() -> None:
    assert {number for part in INPUTS for number in part.claims} == set(ALL)
    for part in INPUTS:
        assert not (part.scenario and part.measures)
        if part.scenario:
            scenario.read(scenario.find(part.scenario))
    assert len({str(part) for part in INPUTS}) == len(INPUTS)


def test_whatever_a_claim_of_learning_wants_is_planned() -> None:
    independent = [part for part in inputs_of((3, 4)) if part.independent]
    assert len({part.seed for part in independent}) == paper.CLAIM_SEEDS


def test_every_technique_is_a_part_that_is_packaged() -> None:
    named = {part.scenario for part in inputs_of((6,))} - {"table-1"}
    assert named == {name for name in scenario.packaged_names() if name.startswith("claim-6-")}


def test_only_claims_on_learning_want_each_row_from_zero() -> None:
    whole = {part.seed: part.usual_seconds for part in inputs_of(ALL) if part.scenario == TABLE_1}
    for claim in ALL:
        rows = [part for part in inputs_of((claim,)) if part.scenario == TABLE_1]
        assert {part.independent for part in rows} <= {claim in (3, 4)}
        assert all(claim in part.claims for part in rows)
        for part in rows:
            assert (part.usual_seconds < whole[part.seed]) == (not part.independent)


def test_the_small_machine_stands_in_for_a_part_that_is_asked_before_it() -> None:
    names = [part.scenario for part in INPUTS]
    (small,) = [part for part in INPUTS if part.stands_in_for]
    assert names.index(small.stands_in_for) < names.index(small.scenario)


def test_parts_of_one_claim() -> None:
    assert [str(part) for part in inputs_of((10,))] == ["claim 10 by itself"]
    assert inputs_of(ALL) == INPUTS


def test_no_part_is_longer_than_an_hour_and_all_take_three_at_most() -> None:
    assert max(part.usual_seconds for part in INPUTS) <= 3_600
    assert sum(part.usual_seconds for part in INPUTS) <= 3 * 3_600


def test_a_part_that_does_not_fit_leaves_room_for_shorter_ones() -> None:
    assert fitting((10, 50, 5, 0, 6), 20) == (True, False, True, True, False)


@given(st.lists(st.floats(0, 1e4)), st.floats(0, 1e5))
def test_what_fits_is_within_the_budget(costs: list[float], budget: float) -> None:
    fits = fitting(costs, budget)
    assert len(fits) == len(costs)
    taken = sum(cost for cost, fit in zip(costs, fits, strict=True) if fit)
    assert taken <= budget * (1 + 1e-9)
    left = budget - taken
    refused = [cost for cost, fit in zip(costs, fits, strict=True) if not fit]
    assert all(cost > left - 1e-6 for cost in refused)
