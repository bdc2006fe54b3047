"""Sets that a line parts, sets that it can't, and shuffled labels beside both."""

import numpy as np
import pytest
from gaussian import gaussian
from scipy import stats
from sklearn.metrics import roc_auc_score

from interfere.errors import InputError
from interfere.measures.domain_classifier import domain_classifier


def answers(seed: int, facts: int, count: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, facts)


def test_a_shift_is_found_and_its_auc_is_sklearns():
    old, new = gaussian(0, 90, 5), gaussian(1, 70, 5) + np.eye(5)[0]
    found = domain_classifier(old, new, answers(2, 90), answers(3, 70))
    assert 0.65 < found.auc.value < 0.85  # Φ(1 / √2) = .76
    assert found.auc.shows
    assert found.shuffled.mean == pytest.approx(0.5, abs=0.05)
    assert found.selectivity == pytest.approx(found.auc.value - found.shuffled.mean)
    assert found.shuffled.p_value == pytest.approx(2 / 100)
    is_new = np.arange(160) >= 90
    parts = [found.folds == fold for fold in range(5)]
    weights = [is_new[p].sum() * (~is_new[p]).sum() for p in parts]
    aucs = [roc_auc_score(is_new[p], found.scores[p]) for p in parts]
    assert found.auc.value == pytest.approx(np.average(aucs, weights=weights))


def test_sets_far_apart_are_told_apart_always():
    found = domain_classifier(gaussian(0, 30, 4), gaussian(1, 30, 4) + 20)
    assert found.auc.value == 1
    assert np.isnan(found.auc.smallest), "no fact differs from another"


def test_facts_of_an_answer_are_in_one_fold():
    a, b = answers(0, 60), answers(1, 60)
    found = domain_classifier(gaussian(0, 60, 4), gaussian(1, 60, 4), a, b)
    both = np.concatenate([a, b])
    assert all(len(set(found.folds[both == code])) == 1 for code in set(both))


def test_what_answers_alone_tell_is_not_learnt():
    """Each answer has its place; old and new facts of one answer lie alike."""
    places = 5 * gaussian(0, 40, 30)
    a, b = answers(1, 100), answers(2, 100)
    old, new = places[a] + gaussian(3, 100, 30), places[b] + gaussian(4, 100, 30)
    found = domain_classifier(old, new, a, b)
    assert found.auc.low < 0.5 < found.auc.high
    assert found.shuffled.p_value > 0.05


@pytest.mark.slow
@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("whole", [False, True], ids=["facts", "whole answers"])
def test_sets_that_are_one_give_uniform_p_values(whole):
    """2,000 draws of 60 facts of 30 answers, dealt by fact or by answer."""
    covered, p_values, answers = [], [], np.repeat(np.arange(30), 2)
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(30, 4))[answers] + 0.5 * rng.normal(size=(60, 4))
        is_new = rng.permutation(30)[answers] < 15 if whole else rng.permutation(60) < 30
        found = domain_classifier(
            x[~is_new], x[is_new], answers[~is_new], answers[is_new],
            shuffles=19, resamples=200, seed=seed,
        )  # fmt: skip
        covered.append(found.auc.low <= 0.5 <= found.auc.high)
        p_values.append(found.shuffled.p_value)
    jittered = np.array(p_values) - np.random.default_rng(0).uniform(0, 0.1, size=2000)
    assert stats.kstest(jittered, "uniform").pvalue > 0.001
    assert np.mean(covered) > 0.8


def test_whole_answers_that_leave_folds_one_sided_say_nothing():
    x, answers = gaussian(0, 40, 3), np.repeat(range(8), 5)
    with pytest.warns(UserWarning, match="needs more answers"):
        found = domain_classifier(x[:30], x[30:], answers[:30], answers[30:])
    assert np.isnan([found.shuffled.p_value, found.selectivity]).all()


def test_blind_to_shift_and_scale_of_dimensions():
    old, new, each = gaussian(0, 60, 4), gaussian(1, 60, 4) + 0.5, np.array([1, 20, 0.1, 3])
    plain = domain_classifier(old, new, shuffles=3)
    moved = domain_classifier(old * each + 9, new * each + 9, shuffles=3)
    assert moved.auc == plain.auc


def test_bad_input_is_refused():
    x = gaussian(0, 20, 3)
    with pytest.raises(InputError, match="3 answers can't fill 5 folds"):
        domain_classifier(x, x, np.arange(20) % 3, np.arange(20) % 3)
    with pytest.raises(InputError, match="give the answers of both sets or of neither"):
        domain_classifier(x, x, np.arange(20))
    with pytest.raises(InputError, match="new: needs at least 5 facts, got 4"):
        domain_classifier(x, x[:4])
