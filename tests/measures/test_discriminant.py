"""The discriminant is scikit-learn's, whole or from sums of folds; the logistic one, too."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from interfere.measures.discriminant import (
    SHRINKAGES,
    discriminant_trainer,
    discriminants,
    sums,
)
from interfere.measures.fold_readers import fold_readers, read
from interfere.measures.logistic import logistic_trainer


def planted(seed: int, n: int, d: int, classes: int, distance: float = 1.0):
    """Class means at random, dimensions of very unlike size and correlated."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(n) % classes)
    x = distance * rng.normal(size=(classes, d))[codes] + rng.normal(size=(n, d))
    return (x @ rng.normal(size=(d, d))) * 10.0 ** rng.uniform(-2, 2, d), codes


def log_odds(scores: np.ndarray) -> np.ndarray:
    return scores - scores.mean(1, keepdims=True)


@pytest.mark.parametrize(("n", "d"), [(90, 6), (40, 70)])
@pytest.mark.parametrize("shrinkage", [0.01, 0.5, 1.0])
def test_log_odds_are_scikit_learns(n, d, shrinkage):
    x, codes = planted(0, n, d, 3)
    codes[:9] = 0  # unequal classes, so that the priors count
    (reader,) = discriminants(sums(x - x.mean(0), codes, 3), [shrinkage])
    scaled = StandardScaler().fit_transform(x)
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    expected = log_odds(reference.fit(scaled, codes).decision_function(scaled))
    found = log_odds(reader.scores(x - x.mean(0)))
    assert found == pytest.approx(expected, abs=1e-7, rel=1e-7)


@pytest.mark.parametrize("left_out", [(0,), (1, 3)])
def test_sums_left_out_are_rows_left_out(left_out):
    x, codes = planted(1, 120, 9, 4)
    x -= x.mean(0)
    fold = np.arange(120) // 30
    (found,) = discriminant_trainer(x, codes, fold)(left_out, (0.1,))
    rest = ~np.isin(fold, left_out)
    (expected,) = discriminants(sums(x[rest], codes[rest], 4), [0.1])
    assert found.scores(x) == pytest.approx(expected.scores(x), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_is_scikit_learns_without_the_fold(classes):
    x, codes = planted(2, 120, 5, classes)
    fold = np.arange(120) // 30
    weak, strong = logistic_trainer(x, codes, fold)((2,), (1.0, 100.0))
    rest = fold != 2
    scaler = StandardScaler().fit(x[rest])
    for reader, c in ((weak, 1.0), (strong, 0.01)):
        reference = LogisticRegression(C=c, max_iter=1000, tol=1e-8)
        reference.fit(scaler.transform(x[rest]), codes[rest])
        expected = reference.predict_log_proba(scaler.transform(x))
        scores = reader.scores(x)
        found = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        assert found == pytest.approx(expected, abs=0.02)


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 10**6))
def test_blind_to_shifts_scales_and_names_of_classes(seed):
    x, codes = planted(seed, 60, 5, 3)
    rng = np.random.default_rng(seed)
    fold = np.arange(60) % 4
    plain = read(fold_readers(x, codes, fold), x, fold)
    moved = (x + 100 * rng.normal(size=5)) * rng.uniform(0.1, 10, 5)
    assert (read(fold_readers(moved, codes, fold), moved, fold) == plain).mean() > 0.98
    names = rng.permutation(3)
    renamed = read(fold_readers(x, names[codes], fold), x, fold)
    assert (renamed == names[plain]).mean() > 0.98


def test_each_fact_is_read_by_a_probe_that_never_saw_it():
    """With as many dimensions as facts a probe that saw a fact would know its label."""
    rng = np.random.default_rng(0)
    right = []
    for _ in range(20):
        x, codes, fold = (
            rng.normal(size=(60, 80)),
            rng.integers(0, 2, 60),
            np.arange(60) % 5,
        )
        right.append((read(fold_readers(x, codes, fold), x, fold) == codes).mean())
    assert np.mean(right) == pytest.approx(0.5, abs=0.05)


def test_strength_is_the_one_that_plain_nested_folds_choose():
    x, codes = planted(3, 80, 30, 3, distance=0.4)
    fold = np.arange(80) % 4
    chosen = []
    for k in range(4):
        right = np.zeros(len(SHRINKAGES))
        for j in set(range(4)) - {k}:
            rest = (fold != k) & (fold != j)
            mean = x[rest].mean(0)
            readers = discriminants(sums(x[rest] - mean, codes[rest], 3), SHRINKAGES)
            inner = x[fold == j] - mean
            right += [(r.read(inner) == codes[fold == j]).sum() for r in readers]
        chosen.append(
            max(s for s, n in zip(SHRINKAGES, right, strict=True) if n == max(right))
        )
    assert len(set(chosen)) > 1, "nothing was chosen"
    assert [reader.strength for reader in fold_readers(x, codes, fold)] == chosen


@pytest.mark.parametrize("kind", ["discriminant", "logistic"])
def test_a_class_missing_from_training_is_never_read(kind):
    x, codes = planted(4, 60, 4, 2)
    fold = np.arange(60) % 4
    codes[fold == 0] = 2
    readers = fold_readers(x, codes, fold, kind)
    assert readers[0].bias[2] == -np.inf
    assert 2 not in read(readers, x, fold)[fold == 0]
    assert np.isfinite(readers[1].bias).all()


def test_constant_dimensions_are_not_read():
    x, codes = planted(5, 60, 4, 2)
    with_constant = np.hstack([x, np.full((60, 1), 1e6)])
    fold = np.arange(60) % 4
    plain, wider = fold_readers(x, codes, fold), fold_readers(with_constant, codes, fold)
    assert wider[0].weights[4] == pytest.approx(0)
    assert (read(wider, with_constant, fold) == read(plain, x, fold)).all()


def test_as_good_as_logistic_regression_on_gaussians():
    x, codes = planted(6, 600, 20, 6, distance=0.5)
    fold = np.arange(600) % 5
    right = {
        kind: (read(fold_readers(x, codes, fold, kind), x, fold) == codes).mean()
        for kind in ("discriminant", "logistic")
    }
    assert right["discriminant"] == pytest.approx(right["logistic"], abs=0.04)
    assert right["discriminant"] > 0.5
