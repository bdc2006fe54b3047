"""What training did, less its strongest directions."""

import numpy as np
import pytest
import torch
from gaussian import gaussian
from tiny_models import CONFIGS, tiny_model

from interfere.errors import InputError
from interfere.interventions.remove_direction import MATRICES, remove_directions
from interfere.measures.weight_delta import paired_parts, weight_deltas


def trained(model, rank: int, *, size: float = 1.0):
    """A copy with a rank-`rank` change, ever weaker, in each matrix of the blocks."""
    after = model.copy("trained")
    weights = after.network.state_dict()
    pairs = paired_parts(model.network.state_dict(), weights, model.network.config)
    for seed, (part, _, new) in enumerate(pairs):
        if part.component in MATRICES:
            left, right = (
                np.linalg.qr(gaussian(seed + k, n, rank))[0]
                for k, n in enumerate(new.shape)
            )
            change = left * (size / 2.0 ** np.arange(rank)) @ right.T
            part.put(weights[part.parameter], new.double() + torch.from_numpy(change))
    return after


def deltas(before, after, directions=1):
    found = weight_deltas(
        before.network.state_dict(),
        after.network.state_dict(),
        config=before.network.config,
        directions=directions,
    )
    return {delta.name: delta for delta in found if delta.component in MATRICES}


@pytest.mark.parametrize("architecture", CONFIGS)
def test_a_planted_direction_is_gone_and_the_model_is_back(architecture):
    before = tiny_model(architecture)
    after = trained(before, 1)
    mended = remove_directions(before, after).model
    ids = torch.arange(1, 9)[None]
    with torch.no_grad():
        old, new, back = (m.network(ids).logits for m in (before, after, mended))
    assert not torch.allclose(new, old, atol=0.05)
    torch.testing.assert_close(back, old, atol=1e-4, rtol=1e-4)


def test_only_the_top_direction_goes():
    before = tiny_model("llama")
    after = trained(before, 3)
    found = remove_directions(before, after)
    whole, rest = deltas(before, after, 3), deltas(before, found.model, 2)
    assert len(found.table) == len(whole) == 7 * 3
    for row in found.table.itertuples():
        assert row.removed == pytest.approx(1, rel=1e-5)
        assert row.left == pytest.approx(np.sqrt(1 / 4 + 1 / 16), rel=1e-5)
        assert row.delta == pytest.approx(np.hypot(row.removed, row.left))
        assert rest[row.name].norm == pytest.approx(row.left, rel=1e-4)
        assert rest[row.name].singular_values[:2] == pytest.approx([0.5, 0.25], rel=1e-4)
        cosine = whole[row.name].left[:, 1] @ rest[row.name].left[:, 0]
        assert abs(cosine) == pytest.approx(1, abs=1e-5)


def test_random_removal_takes_as_much_and_undoes_little():
    before = tiny_model("llama")
    after = trained(before, 3)
    top = remove_directions(before, after, directions=2)
    chance = remove_directions(before, after, directions=2, which="random", seed=1)
    a, b = (deltas(after, side.model, 2) for side in (top, chance))
    for name, delta in a.items():
        assert b[name].norm == pytest.approx(delta.norm, rel=1e-4)
        assert b[name].singular_values[:2] == pytest.approx(
            delta.singular_values[:2], rel=1e-4
        )
    # At nearly right angles to the delta: the squares of the two lengths add up.
    for row in chance.table.itertuples():
        assert row.left == pytest.approx(np.hypot(row.delta, row.removed), rel=0.1)
        assert row.left > row.delta


def test_random_removal_follows_its_seed():
    before = tiny_model("llama")
    after = trained(before, 1)
    digests = [
        remove_directions(before, after, which="random", seed=seed).model.digest
        for seed in (0, 0, 1)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_nothing_else_is_touched():
    before = tiny_model("llama")
    after = trained(before, 2)
    digests = before.digest, after.digest
    found = remove_directions(before, after, components=["v"])
    assert (before.digest, after.digest) == digests
    assert set(found.table["component"]) == {"v"}
    new, old = found.model.network.state_dict(), after.network.state_dict()
    changed = {name for name in new if not torch.equal(new[name], old[name])}
    assert changed == {f"model.layers.{i}.self_attn.v_proj.weight" for i in range(3)}


def test_all_directions_give_the_old_weights():
    before = tiny_model("gpt2")
    after = trained(before, 4)
    found = remove_directions(before, after, directions=999)
    assert (found.table["left"] < 1e-6 * found.table["delta"]).all()


def test_bad_input_is_refused():
    model = tiny_model("llama")
    with pytest.raises(InputError, match="directions must be at least 1, got 0"):
        remove_directions(model, model, directions=0)
    with pytest.raises(InputError, match=r"changed no matrix of the components \['v'\]"):
        remove_directions(model, model, components=["v"])
    with pytest.raises(InputError, match="compare two states of one network"):
        remove_directions(model, tiny_model("gpt2"))
