"""CKA is eq. 3, blind to what it should be, and says when it can't be had."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.cka import cka


def gaussian(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def test_two_crossing_halvings_by_hand():
    x, y = torch.tensor([[1.0], [1], [-1], [-1]]), torch.tensor([[1.0], [-1], [1], [-1]])
    assert cka(x, y).value == pytest.approx(-1 / 2)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), scale=st.floats(1, 100), n=st.sampled_from([5, 12]))
def test_blind_to_rotation_scale_shift(seed, scale, n):
    x, y = gaussian(seed, n, 5), gaussian(seed + 1, n, 3)
    q = torch.linalg.qr(gaussian(seed + 2, 5, 5)).Q
    assert cka(scale * x @ q + 1e4, y).value == pytest.approx(cka(y, x).value, abs=1e-8)
    assert cka(x, scale * x @ q - 7).value == pytest.approx(1, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), d=st.sampled_from([2, 40]))
def test_blind_to_a_permutation_of_the_facts(seed, d):
    x, y = gaussian(seed, 10, d), gaussian(seed + 1, 10, d)
    order = np.random.default_rng(seed).permutation(10)
    assert cka(x[order], y[order]).value == pytest.approx(cka(x, y).value, abs=1e-12)


@pytest.mark.parametrize("d", [3, 8, 9, 500])
def test_is_eq_3_term_by_term(d):
    def hsic(k, m):
        n, r, s = len(k), k.sum(0), m.sum(0)
        total = r.sum() * s.sum() / ((n - 1) * (n - 2))
        return (k * m).sum() + total - 2 / (n - 2) * r @ s

    x, y = gaussian(0, 9, d).float(), gaussian(1, 9, d).float()
    k, m = ((z.double() @ z.double().T).fill_diagonal_(0).numpy() for z in (x, y))
    expected = hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))
    assert cka(x, y).value == pytest.approx(expected, abs=1e-12)


def test_unrelated_wide_rows_are_near_zero():
    values = [
        cka(gaussian(2 * i, 20, 400), gaussian(2 * i + 1, 20, 400)).value for i in range(30)
    ]
    assert abs(np.mean(values)) < 0.03
    assert min(values) < 0, "a clamped value would be biased upward"


def test_arrays_and_heads_are_taken():
    x, y = gaussian(0, 9, 6), gaussian(1, 9, 6)
    heads = x.reshape(9, 2, 3).numpy()
    assert cka(heads, y).value == cka(x, y).value
    assert cka(x, y).facts == 9


@pytest.mark.parametrize("n", [50, 5])
def test_constant_is_nan(n):
    with pytest.warns(UserWarning, match="NaN: one side is constant"):
        assert np.isnan(cka(gaussian(1, 1, 9).expand(n, 9), gaussian(0, n, 2)).value)


def test_different_facts_are_refused():
    with pytest.raises(InputError, match=r"5 and 6 rows; .* subspace"):
        cka(torch.zeros(5, 2), torch.zeros(6, 2))


def test_too_few_facts_are_refused():
    with pytest.raises(InputError, match=r"4 or more facts twice, got 3 and 3 rows"):
        cka(torch.zeros(3, 2), torch.zeros(3, 2))


def test_names_the_side_and_fact_at_fault():
    y = gaussian(0, 9, 2)
    y[4, 1] = float("inf")
    with pytest.raises(InputError, match="after: fact 4 has a NaN or infinite"):
        cka(gaussian(1, 9, 2), y)
