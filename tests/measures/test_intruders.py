"""Intruder dimensions: planted ones are counted, and nothing else is."""

import numpy as np
import pytest
import torch
from gaussian import gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_model

from interfere.errors import InputError
from interfere.measures.intruders import THRESHOLDS, intruder_table, intruders
from interfere.measures.lora import merged
from interfere.measures.spectra import LowRank


def test_a_planted_intruder_comes_first():
    base = gaussian(0, 60, 40)
    u = np.linalg.svd(base)[0][:, 40]  # at right angles to all that the base writes
    v = gaussian(1, 40)
    found = intruders(base, base + 50 * np.outer(u, v / np.linalg.norm(v)))
    assert found.cosines[0] < 0.2
    assert found.singular_values[0] > found.singular_values[1]
    assert found.count(0.3) == 1


def test_reweighing_the_bases_own_directions_plants_none():
    u, s, vt = np.linalg.svd(gaussian(0, 30, 30))
    found = intruders(u * s @ vt, u * (s + np.linspace(0, 5, 30)) @ vt, examined=30)
    assert found.cosines == pytest.approx(np.ones(30))
    assert found.count(1 - 1e-9) == 0


def test_a_rotation_half_way_between_two_directions_by_hand():
    q = np.array([[1.0, -1], [1, 1]]) / np.sqrt(2)
    found = intruders(np.diag([2.0, 1]), q @ np.diag([2.0, 1]), examined=2)
    assert found.cosines == pytest.approx([np.sqrt(0.5)] * 2)
    assert (found.count(0.7), found.count(0.8)) == (0, 2)


def test_is_the_papers_loop():
    base, tuned = gaussian(0, 12, 9), gaussian(0, 12, 9) + gaussian(1, 12, 9)
    u0, u = np.linalg.svd(base)[0][:, :9], np.linalg.svd(tuned)[0]
    for threshold in THRESHOLDS:
        count = 0
        for j in range(5):
            if all(abs(u0[:, i] @ u[:, j]) < threshold for i in range(9)):
                count += 1
        assert intruders(base, tuned, examined=5).count(threshold) == count


def test_right_is_left_of_the_transpose():
    base, tuned = gaussian(0, 12, 9), gaussian(1, 12, 9)
    assert intruders(base, tuned, side="right", examined=4).cosines == pytest.approx(
        intruders(base.T, tuned.T, examined=4).cosines
    )


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10))
def test_blind_to_rotation_of_both_and_to_scale(seed, scale):
    base, tuned = gaussian(seed, 8, 6), gaussian(seed + 1, 8, 6)
    q = np.linalg.qr(gaussian(seed + 2, 8, 8))[0]
    plain = intruders(base, tuned, examined=3)
    turned = intruders(q @ base, scale * q @ tuned, examined=3)
    assert turned.cosines == pytest.approx(plain.cosines)
    assert (plain.cosines >= 0).all()
    assert (plain.cosines <= 1).all()


def test_not_blind_to_rotation_of_one():
    base = gaussian(0, 20, 20)
    q = np.linalg.qr(gaussian(1, 20, 20))[0]
    assert intruders(base, q @ base, examined=5).cosines.max() < 0.95


def test_an_adapter_of_strong_random_directions_plants_its_rank():
    model = tiny_model("llama")
    before = model.network.state_dict()
    name = "model.layers.2.mlp.up_proj.weight"
    size = float(torch.linalg.matrix_norm(before[name], 2))
    left, right = (np.linalg.qr(gaussian(s, n, 3))[0] for s, n in ((0, 96), (1, 64)))
    after = merged(before, {name: LowRank(20 * size * left, right.T)})
    table = intruder_table(before, after, thresholds=[0.6], examined=3)
    assert len(table) == 7 * 3
    assert table.set_index("name")["intruders"].to_dict() == {
        n: 3 * (n == name) for n in table["name"]
    }
    assert (table["examined"] == 3).all()


def test_bad_input_is_refused():
    with pytest.raises(InputError, match=r"shape \(3, 2\) before and \(2, 3\) after"):
        intruders(np.ones((3, 2)), np.ones((2, 3)))
    with pytest.raises(InputError, match=r"examined must be from 1 to 2 .*, got 3"):
        intruders(np.ones((3, 2)), np.ones((3, 2)), examined=3)
    with pytest.raises(InputError, match="after: 1 of 6 weights are NaN"):
        intruders(np.ones((3, 2)), np.array([[1, 1], [1, 1], [1, np.nan]]), examined=1)
    weights = tiny_model("llama").network.state_dict()
    with pytest.raises(InputError, match=r"no matrix of the components \['qkv'\]"):
        intruder_table(weights, weights, components=["qkv"])


def test_what_is_no_direction_has_no_cosine():
    low = gaussian(3, 12, 3) @ gaussian(4, 3, 9)
    found = intruders(gaussian(5, 12, 9), low, examined=5)
    assert np.isfinite(found.cosines[:3]).all()
    assert np.isnan(found.cosines[3:]).all()
    assert intruders(low, low, examined=3).cosines == pytest.approx(np.ones(3))
    for sides in ((0 * low, low), (low, 0 * low)):
        with pytest.raises(InputError, match="is 0: it has no singular directions"):
            intruders(*sides, examined=3)
