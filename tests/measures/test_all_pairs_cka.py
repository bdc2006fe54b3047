"""All pairs at once are `cka` pair by pair, whichever way they are taken."""

import numpy as np
import pytest
import torch
from gaussian import changed, gaussian
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.measures import all_pairs_cka as module
from interfere.measures.all_pairs_cka import all_pairs_cka
from interfere.measures.cka import cka


def pair_by_pair(befores, afters) -> np.ndarray:
    return np.array([[cka(x, y).value for y in afters] for x in befores])


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(module, "TILE", 7)
    monkeypatch.setattr(module, "CHUNK", 16)


@pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float64, 1e-11), (torch.float32, 1e-5)]
)
@pytest.mark.parametrize("way", ["_by_tiles", "_by_features"])
@pytest.mark.parametrize(("n", "d"), [(5, 3), (30, 4), (41, 60), (90, 2)])
def test_both_ways_are_cka_pair_by_pair(small_tiles, monkeypatch, dtype, error, way, n, d):
    monkeypatch.setattr(module, "_tall", lambda *_: way == "_by_features")
    befores = [gaussian(0, n, d), *changed(1, n, d)]
    afters = [befores[2] + gaussian(9, n, d + 1), gaussian(5, n, 1)]
    found = all_pairs_cka(befores, afters, dtype=dtype)
    assert found == pytest.approx(pair_by_pair(befores, afters), abs=error)


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    offset=st.floats(-1e4, 1e4),
    scale=st.sampled_from([1e-20, 1, 1e20]),
)
def test_float32_stands_a_shift_and_any_scale(seed, offset, scale):
    before, after = changed(seed, 60, 8)
    expected = cka(before, after).value
    shifted = ((before + offset) * scale).astype(np.float32)
    expected = cka(shifted, after).value
    found = all_pairs_cka([shifted], [after], dtype=torch.float32)
    assert found == pytest.approx(np.array([[expected]]), abs=1e-5)


def test_many_facts_are_float32_within_the_claim():
    shared = gaussian(0, 2100, 10)
    layers = [
        shared @ gaussian(i, 10, 24) + i * gaussian(10 + i, 2100, 24) + 3 for i in range(3)
    ]
    found = all_pairs_cka(layers, layers[::-1])
    assert found == pytest.approx(pair_by_pair(layers, layers[::-1]), abs=1e-5)
    assert (found != all_pairs_cka(layers, layers[::-1], dtype=torch.float64)).any()


def test_the_cheaper_way_is_taken(monkeypatch):
    taken = []
    for way in ("_by_tiles", "_by_features"):
        real = getattr(module, way)
        monkeypatch.setattr(
            module, way, lambda *sides, w=way, real=real: taken.append(w) or real(*sides)
        )
    for n, d in ((20, 30), (200, 3)):
        all_pairs_cka([gaussian(0, n, d)], [gaussian(1, n, d)])
    assert taken == ["_by_tiles", "_by_features"]


def test_heads_and_bfloat16_are_taken():
    x, y = (torch.from_numpy(z[:, :6]) for z in changed(0, 12, 6))
    half = x.bfloat16()
    found = all_pairs_cka([half.reshape(12, 2, 3)], [y.numpy()])
    assert found[0, 0] == pytest.approx(cka(half.double(), y).value, abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("other", [np.full((9, 2), 1e4 + 1 / 3), np.eye(9)])
def test_a_layer_that_says_nothing_is_nan_alone(dtype, other):
    x, y = changed(0, 9, 4)
    with pytest.warns(UserWarning, match="CKA is NaN: a layer is constant"):
        found = all_pairs_cka([x, other], [y, x], dtype=dtype)
    assert np.isnan(found).tolist() == [[False, False], [True, True]]
    assert found[0, 1] == pytest.approx(1, abs=1e-5)


def test_the_layer_and_fact_at_fault_are_named():
    x = gaussian(0, 9, 2)
    broken = x.copy()
    broken[4, 1] = np.inf
    with pytest.raises(InputError, match=r"after, blocks.3.hook_out: fact 4 has a NaN"):
        all_pairs_cka({"blocks.3.hook_out": x}, {"blocks.3.hook_out": broken})
    with pytest.raises(InputError, match="before, layer 1: fact 4 has a NaN"):
        all_pairs_cka([x, broken], [x])


@pytest.mark.parametrize(
    ("befores", "afters", "message"),
    [
        ([9], [9, 8], r"got 1 and 2 layers with \[8, 9\] rows"),
        ([3], [3], r"with \[3\] rows"),
        ([9], [], r"got 1 and 0 layers"),
    ],
)
def test_unlike_facts_too_few_or_none_are_refused(befores, afters, message):
    sides = ([gaussian(0, n, 2) for n in side] for side in (befores, afters))
    with pytest.raises(InputError, match=message):
        all_pairs_cka(*sides)
