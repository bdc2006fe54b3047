"""Planted changes of weights are found, whatever the architecture stores them as."""

import numpy as np
import pytest
import torch
from gaussian import gaussian
from tiny_models import CONFIGS, tiny_model

from interfere.errors import InputError
from interfere.measures.lora import merged
from interfere.measures.spectra import LowRank
from interfere.measures.weight_delta import adapter_deltas, delta_table, weight_deltas
from interfere.models.weight_parts import parts, upright_shape


def plant(model, component: str, layer: int, change: np.ndarray):
    """The model's weights with `change` [out, in] added to one matrix."""
    weights = {k: v.clone().double() for k, v in model.network.state_dict().items()}
    for name, value in weights.items():
        for part in parts(name, upright_shape(name, value.shape)[0], model.network.config):
            if (part.component, part.layer) == (component, layer):
                part.put(value, part.of(value) + torch.from_numpy(change))
    return weights


def shape_of(model, component: str, layer: int) -> tuple[int, ...]:
    weights = model.network.state_dict()
    found = weight_deltas(weights, weights, config=model.network.config)
    return next(d.shape for d in found if (d.component, d.layer) == (component, layer))


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("component", ["k", "down"])
def test_a_planted_rank_1_change_is_found_where_it_is(architecture, component):
    model = tiny_model(architecture)
    out, inner = shape_of(model, component, 1)
    u, v = gaussian(0, out), gaussian(1, inner)
    before = model.network.state_dict()
    after = plant(model, component, 1, np.outer(u, v))
    table = weight_deltas(before, after, config=model.network.config)
    moved = [d for d in table if d.norm > 0]
    assert [(d.component, d.layer) for d in moved] == [(component, 1)]
    (delta,) = moved
    assert delta.norm == pytest.approx(np.linalg.norm(u) * np.linalg.norm(v), rel=1e-6)
    assert (delta.effective_rank, delta.stable_rank) == pytest.approx((1, 1), abs=1e-6)
    assert abs(delta.left[:, 0] @ u) == pytest.approx(np.linalg.norm(u))
    assert abs(delta.right[:, 0] @ v) == pytest.approx(np.linalg.norm(v))


def test_every_matrix_is_numpys():
    model, other = tiny_model("llama"), tiny_model("llama", seed=1)
    before, after = model.network.state_dict(), other.network.state_dict()
    found = {d.name: d for d in weight_deltas(before, after, directions=3)}
    assert set(found) == set(before)
    for name, delta in found.items():
        w0, w1 = before[name].double().numpy(), after[name].double().numpy()
        assert delta.norm == pytest.approx(np.linalg.norm(w1 - w0))
        assert delta.relative == pytest.approx(np.linalg.norm(w1 - w0) / np.linalg.norm(w0))
        if w0.ndim == 1:
            assert np.isnan([delta.effective_rank, delta.stable_rank]).all()
            continue
        s = np.linalg.svd(w1 - w0, compute_uv=False)
        p = s / s.sum()
        assert delta.effective_rank == pytest.approx(np.exp(-(p * np.log(p)).sum()))
        assert delta.stable_rank == pytest.approx((s**2).sum() / s[0] ** 2)
        assert delta.left.shape == (w0.shape[0], 3)


def test_the_table_has_a_row_a_matrix_and_keeps_nan():
    weights = tiny_model("llama").network.state_dict()
    table = delta_table(weight_deltas(weights, weights))
    assert len(table) == len(weights)
    assert (table["norm"] == 0).all()
    assert table[["effective_rank", "stable_rank", "top_share"]].isna().all(axis=None)
    assert table["layer"].isna().sum() == 3  # embeddings, head, last norm
    assert table.set_index("component").loc["gate", "shape"].tolist() == ["96x64"] * 3


def test_a_tied_head_is_counted_once():
    tied = tiny_model("llama", tie_word_embeddings=True).network.state_dict()
    assert "lm_head.weight" in tied
    components = [d.component for d in weight_deltas(tied, tied)]
    assert components.count("embedding") == 1
    assert "head" not in components


def test_a_copy_or_a_file_of_tied_weights_is_tied_too():
    tied = tiny_model("llama", tie_word_embeddings=True).network.state_dict()
    copied = {name: value.clone() for name, value in tied.items()}
    filed = {name: value for name, value in copied.items() if name != "lm_head.weight"}
    for before, after in ((tied, copied), (filed, tied), (copied, tied)):
        assert "head" not in [d.component for d in weight_deltas(before, after)]


def test_a_head_that_training_parted_from_the_embeddings_is_measured():
    tied = tiny_model("llama", tie_word_embeddings=True).network.state_dict()
    parted = tied | {"lm_head.weight": tied["lm_head.weight"] + 1}
    norms = {d.component: d.norm for d in weight_deltas(tied, parted)}
    assert norms["embedding"] == 0
    assert norms["head"] == pytest.approx(np.sqrt(tied["lm_head.weight"].numel()))


def test_other_networks_are_refused():
    weights = tiny_model("llama").network.state_dict()
    less = {k: v for k, v in weights.items() if k != "model.norm.weight"}
    with pytest.raises(
        InputError, match=r"weights after lack model\.norm\.weight; compare"
    ):
        weight_deltas(weights, less)
    other = weights | {"model.norm.weight": torch.ones(3)}
    with pytest.raises(
        InputError, match=r"model\.norm\.weight has the shape \(64,\) before"
    ):
        weight_deltas(weights, other)
    broken = weights | {"model.norm.weight": torch.full((64,), float("nan"))}
    with pytest.raises(InputError, match=r"model\.norm\.weight: a weight is NaN"):
        weight_deltas(weights, broken)


NAMES = {
    "llama": "model.layers.1.mlp.up_proj.weight",
    "gpt2": "transformer.h.1.attn.c_attn.weight",
    "phi3": "model.layers.1.self_attn.qkv_proj.weight",
    "neox": "gpt_neox.layers.1.attention.query_key_value.weight",
}


@pytest.mark.parametrize("architecture", NAMES)
def test_an_adapter_measures_as_its_merged_weights(architecture):
    model, name = tiny_model(architecture), NAMES[architecture]
    before = {k: v.double() for k, v in model.network.state_dict().items()}
    out, inner = upright_shape(name, before[name].shape)
    adapter = {name: LowRank(gaussian(0, out, 4), gaussian(1, 4, inner))}
    config = model.network.config
    found = adapter_deltas(adapter, before, config=config, directions=4)
    whole = weight_deltas(before, merged(before, adapter), config=config, directions=4)
    by_name = {d.name: d for d in whole}
    assert {d.name for d in found} == {d.name for d in whole if d.norm > 0}
    for delta in found:
        other = by_name[delta.name]
        assert delta.shape == other.shape
        for field in ("norm", "relative", "effective_rank", "stable_rank"):
            assert getattr(delta, field) == pytest.approx(getattr(other, field), rel=1e-6)
        assert np.abs((delta.left * other.left).sum(0)) == pytest.approx(np.ones(4))


def test_an_adapter_without_its_base_has_no_relative_norm():
    (found,) = adapter_deltas(
        {NAMES["llama"]: LowRank(gaussian(0, 96, 2), gaussian(1, 2, 64))}
    )
    assert np.isnan(found.relative)
    assert found.norm > 0


def test_an_adapter_of_another_network_is_refused():
    weights = tiny_model("llama").network.state_dict()
    strange = LowRank(np.ones((5, 1)), np.ones((1, 64)))
    with pytest.raises(
        InputError, match=r"changes x\.weight, which the weights before lack"
    ):
        adapter_deltas({"x.weight": strange}, weights)
    with pytest.raises(InputError, match=r"is \(5, 64\), but the weight \(96, 64\)"):
        adapter_deltas({NAMES["llama"]: strange}, weights)
