"""Planted shifts asked again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussian import gaussian
from tiny_models import places, tiny_model

from interfere.activations.recorder import record
from interfere.errors import InputError
from interfere.interventions.activation_patching import activation_patching
from interfere.interventions.counterfactual_shift import (
    SHIFTS,
    counterfactual_shift,
)

FACTS = places()[:16]


def shifted(before, after, **options):
    found = counterfactual_shift(before, after, FACTS, batch_facts=5, **options)
    return found, {
        shift: found.logprob[found.cells.index[found.cells["shift"] == shift]]
        for shift in SHIFTS
    }


@pytest.fixture(scope="module")
def biased():
    """GPT-2, and the same with one constant more in what its last MLP gives."""
    before = tiny_model("gpt2")
    after = before.copy("shifted")
    bias = after.network.get_submodule("transformer.h.2.mlp.c_proj").bias
    bias.data += torch.from_numpy(gaussian(3, 64)).float()
    return before, after


def test_a_shift_that_is_only_common_is_taken_out_whole(biased):
    found, logprob = shifted(*biased, hooks="blocks.2.hook_out", position="prompt_last")
    assert logprob["common out"] == pytest.approx(logprob["both out"], rel=1e-4)
    assert logprob["residual out"] == pytest.approx(found.target.logprob[None], rel=1e-4)
    moved = np.abs(logprob["common out"] - found.target.logprob)
    assert moved.mean() > 0.05  # there was something to take out


def test_blocks_ahead_of_a_change_have_no_shift(biased):
    found, logprob = shifted(*biased, hooks="blocks.[01].hook_out")
    for shift in SHIFTS:
        assert logprob[shift] == pytest.approx(
            np.stack([found.target.logprob] * 2), rel=1e-5
        )


def test_both_out_is_activation_patching(before, after):
    found, logprob = shifted(before, after, hooks="blocks.1.hook_out")
    patched = activation_patching(
        before,
        after,
        FACTS,
        hooks="blocks.1.hook_out",
        positions=["subject_last"],
        batch_facts=5,
    )
    assert (logprob["both out"] == patched.logprob).all()
    assert (found.source.logprob == patched.source.logprob).all()
    assert not (logprob["common out"] == logprob["residual out"]).any()


@pytest.mark.parametrize("shift", ["common out", "residual out"])
def test_is_the_definition_on_recordings_asked_through_the_bridge(
    before, after, shift, tmp_path
):
    """Activations from recordings, c by a loop, unpadded runs by `run_with_hooks`."""
    hook, position = "blocks.1.hook_out", "subject_last"
    _, logprob = shifted(before, after, hooks=hook, position=position)
    sides = {
        model.name: record(model, FACTS, tmp_path / f"{i}.h5", hooks=hook)
        for i, model in enumerate((before, after))
    }
    old, new = (r[hook, position].numpy().astype(float) for r in sides.values())
    recording, bridge = sides[after.name], after.hooked()
    for i in (0, 7, 15):
        c = np.delete(new - old, i, axis=0).mean(0)
        z = torch.from_numpy(new[i] - c if shift == "common out" else old[i] + c)
        ids, at = recording.tokens[i], recording.at(position)[i]
        begin = recording.at("answer_first")[i]

        def put(activation, hook, z=z, at=at):
            activation[0, at] = z
            return activation

        with torch.inference_mode():
            logits = bridge.run_with_hooks(
                torch.from_numpy(ids)[None].long(), fwd_hooks=[(hook, put)]
            )[0].double()
        said = logits[begin - 1 : -1].log_softmax(-1).numpy()
        expected = said[np.arange(len(said)), ids[begin:]].sum()
        assert logprob[shift][0, i] == pytest.approx(expected, rel=1e-4)


def test_heads_are_shifted_in_their_shape(before, after):
    found, _ = shifted(before, after, hooks="blocks.1.attn.hook_z", position="prompt_last")
    assert np.isfinite(found.logprob).all()
    assert found.cells["shift"].tolist() == list(SHIFTS)


def test_relations_have_shifts_of_their_own(before, after):
    """A second relation's facts do not enter the first one's shift."""
    other = places()[16:24]
    renamed = replace(
        other,
        facts=tuple(
            replace(f, relation="other", question=f"Which country is {f.subject} in?")
            for f in other
        ),
    )
    options = {"hooks": "blocks.1.hook_out", "batch_facts": 64}
    alone = counterfactual_shift(before, after, FACTS, **options)
    both = counterfactual_shift(before, after, FACTS + renamed, **options)
    assert both.logprob[:, : len(FACTS)] == pytest.approx(alone.logprob, rel=1e-4)
    same = counterfactual_shift(before, after, FACTS + other, **options)
    assert not np.allclose(same.logprob[0, : len(FACTS)], alone.logprob[0], rtol=1e-4)


def test_bad_input(before, after):
    with pytest.raises(InputError, match=r"'subject' is of several tokens"):
        shifted(before, after, position="subject")
    with pytest.raises(InputError, match="no position is named 'last'"):
        shifted(before, after, position="last")
    with pytest.raises(InputError, match=r"relation P17 has one fact"):
        counterfactual_shift(before, after, FACTS[:1])


def test_a_nan_activation_is_named(before, after):
    ids = [
        after.tokenizer(fact.subject, add_special_tokens=False).input_ids for fact in FACTS
    ]
    fact, token = next(
        (i, token)
        for i, own in enumerate(ids)
        for token in own
        if sum(token in other for other in ids) == 1
    )
    broken = after.copy()
    broken.network.get_input_embeddings().weight.data[token] = np.nan
    with pytest.raises(
        InputError, match=rf"after, blocks.1.hook_out: fact {fact} has a NaN"
    ):
        shifted(before, broken, hooks="blocks.1.hook_out")
