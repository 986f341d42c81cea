"""Which case next: need, difference, and an order that is always the same."""

import numpy as np
import pytest

from VoxelAdvSegLib.evaluation.ranking import Candidate, rank


def names(candidates: list[Candidate], known: list | tuple = ()) -> list[str]:
    return [ranked.name for ranked in rank(candidates, known)]


def at(name: str, need: float, *place: float) -> Candidate:
    return Candidate(name, need, "", np.array(place))


def test_the_worst_comes_first_where_nothing_else_is_known():
    candidates = [Candidate("a", 0.1, ""), Candidate("b", 0.5, ""), Candidate("c", 0.3, "")]
    assert names(candidates) == ["b", "c", "a"]


def test_of_equally_bad_ones_the_next_is_unlike_those_before():
    """Two of one kind and one of another: the second place goes to the other kind."""
    candidates = [at("a", 0.5, 0, 0), at("a2", 0.49, 0.01, 0), at("b", 0.45, 5, 5), at("c", 0.0, 2, 2)]
    assert names(candidates, [np.array([2.5, 2.5])])[:2] in (["a", "b"], ["b", "a"])


def test_what_is_like_a_labeled_case_can_wait():
    candidates = [at("like", 0.5, 0, 0), at("unlike", 0.5, 4, 4)]
    assert names(candidates, [np.array([0.0, 0.0])]) == ["unlike", "like"]
    assert names(candidates, [np.array([4.0, 4.0])]) == ["like", "unlike"]


def test_need_outweighs_difference():
    candidates = [at("bad", 1.0, 0, 0), at("far", 0.0, 9, 9), at("near", 0.2, 0, 1)]
    assert names(candidates, [np.array([0.0, 0.0])])[0] == "bad"


def test_the_order_does_not_depend_on_that_of_the_list():
    rng = np.random.default_rng(0)
    candidates = [at(f"case {i}", rng.random(), *rng.normal(size=6)) for i in range(40)]
    order = names(candidates)
    assert sorted(order) == sorted(c.name for c in candidates)
    for _ in range(3):
        assert names([candidates[i] for i in rng.permutation(40)]) == order


def test_equal_candidates_go_by_name():
    assert names([at("b", 0.5, 1, 1), at("a", 0.5, 1, 1)]) == ["a", "b"]


def test_a_class_that_was_not_found_is_no_difference():
    candidates = [at("whole", 0.2, 0, 1), at("partly", 0.6, 0, np.nan), at("other", 0.1, 1, 0)]
    ranked = rank(candidates, [np.array([0.0, np.nan])])
    assert ranked[0].name == "partly" and all(np.isfinite(r.score) for r in ranked)


def test_one_without_features_leaves_need_alone():
    candidates = [at("a", 0.1, 9, 9), Candidate("b", 0.9, ""), at("c", 0.5, 0, 0)]
    assert names(candidates) == ["b", "c", "a"]


def test_parts_and_reasons():
    candidates = [
        Candidate("a", 0.5, "Its boundary is unsure.", np.array([0.0])),
        Candidate("b", 0.4, "", np.array([9.0])),
        Candidate("c", 0.1, "", np.array([0.1])),
    ]
    ranked = {r.name: r for r in rank(candidates, [np.array([0.0])])}
    assert ranked["a"].need == 1 and ranked["c"].need == 0 and ranked["b"].difference == pytest.approx(1)
    assert ranked["a"].reason == "Its boundary is unsure."
    assert "differs most" in ranked["b"].reason
    scores = [r.score for r in rank(candidates, [np.array([0.0])])]
    assert all(0 <= score <= 1.5 for score in scores)


def test_none_and_one():
    assert rank([]) == []
    assert names([at("only", 0.3, 1, 2)]) == ["only"]
