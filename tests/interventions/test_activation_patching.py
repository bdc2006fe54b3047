"""Patching: into itself, planted changes in one place, and the bridge as a reference."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_models import places, tiny_model

from interfere.activations.recorder import record
from interfere.errors import InputError
from interfere.facts import questions
from interfere.interventions.activation_patching import activation_patching
from interfere.interventions.asking import Questions
from interfere.interventions.outcomes import Outcomes
from interfere.models.encoding import encode_continuations, encode_prompts, subject_spans

FACTS = places()[:12]


def patched(source, target, **options) -> Outcomes:
    return activation_patching(source, target, FACTS, batch_facts=5, **options)


def cell(found: Outcomes, hook: str, position: str, head: int | None = None) -> int:
    cells = found.cells
    same = cells["head"].isna() if head is None else cells["head"].eq(head).fillna(False)
    where = (cells["hook"] == hook) & (cells["position"] == position) & same
    (row,) = np.flatnonzero(where)
    return int(row)


def test_into_itself_changes_no_bit(before):
    hooks = [f"blocks.*.{name}" for name in ("hook_*_out", "hook_out", "attn.hook_z")]
    found = patched(
        before, before, hooks=hooks, positions=["subject", "answer_first", "all"]
    )
    assert len(found.cells) == 3 * 3 * 4
    assert (found.logprob == found.target.logprob).all()
    assert (found.logprob == found.source.logprob).all()
    assert (found.right == found.target.right).all()


def test_every_token_of_the_last_block_answers_as_the_source_to_the_bit(before, after):
    found = patched(before, after, hooks="blocks.*.hook_out", positions=["all"])
    assert (found.source.logprob != found.target.logprob).all()
    assert (found.logprob[2] == found.source.logprob).all()
    assert (found.right[2] == found.source.right).all()
    assert not (found.logprob[0] == found.source.logprob).any()


def test_a_change_in_one_mlp_is_found_there_and_nowhere_else(before, alter):
    tuned = alter(before, only="model.layers.1.mlp")
    found = patched(before, tuned, positions=["all"])
    recovered = found.table(resamples=50).set_index("hook")["recovered"]
    for hook in ("blocks.1.hook_mlp_out", "blocks.1.hook_out", "blocks.2.hook_out"):
        assert recovered[hook] == pytest.approx(1, abs=1e-4), hook
    before_it = ["blocks.0.hook_out", "blocks.0.hook_mlp_out", "blocks.1.hook_attn_out"]
    assert (recovered[before_it] == 0).all()  # the same bits in both models
    # Behind it the rest of the residual stream still holds the change.
    assert abs(recovered["blocks.2.hook_mlp_out"] - 1) > 0.05


def test_a_change_in_one_heads_queries_is_that_heads(before):
    tuned = before.copy()
    width = before.network.config.head_dim
    queries = tuned.network.get_submodule("model.layers.2.self_attn.q_proj")
    queries.weight.data[2 * width : 3 * width] *= -3
    found = patched(
        before, tuned, hooks="blocks.2.attn.hook_z", positions=["all"], each_head=True
    )
    rows = {
        head: found.logprob[cell(found, "blocks.2.attn.hook_z", "all", head)]
        for head in range(4)
    }
    assert rows[2] == pytest.approx(found.source.logprob, rel=1e-4)
    assert not (found.source.logprob == found.target.logprob).any()
    for head in (0, 1, 3):
        assert (rows[head] == found.target.logprob).all()


def test_the_reverse_spoils_by_as_much(before, after):
    there, back = (
        patched(*pair, hooks="blocks.2.hook_out", positions=["all"])
        for pair in ((before, after), (after, before))
    )
    assert (there.logprob == back.target.logprob).all()
    assert (back.logprob == there.target.logprob).all()


@pytest.mark.parametrize("position", ["subject_last", "subject", "prompt_last"])
def test_is_what_the_bridge_gives_fact_by_fact(before, after, position):
    """Unpadded, by `run_with_hooks`, scored in float64 by hand."""
    hook = "blocks.1.hook_out"
    found = patched(before, after, hooks=hook, positions=[position])
    source, target = before.hooked(), after.hooked()
    for i, fact in enumerate(FACTS[:5]):
        prompt = questions.prompt(fact)
        (head,) = encode_prompts(before.tokenizer, [prompt])
        (tail,) = encode_continuations(
            before.tokenizer, [prompt], [questions.target(fact.answer)]
        )
        ((first, last),) = subject_spans(before.tokenizer, [prompt], [fact.subject])
        at = {
            "subject_last": slice(last, last + 1),
            "subject": slice(first, last + 1),
            "prompt_last": slice(len(head) - 1, len(head)),
        }[position]
        ids = torch.tensor([head + tail])
        _, kept = source.run_with_cache(ids, names_filter=hook)

        def put(activation, hook, at=at, kept=kept):
            activation[:, at] = kept["blocks.1.hook_out"][:, at]
            return activation

        logits = target.run_with_hooks(ids, fwd_hooks=[(hook, put)])[0].double()
        said = logits[len(head) - 1 : -1].log_softmax(-1)
        expected = sum(said[step, token].item() for step, token in enumerate(tail))
        assert found.logprob[0, i] == pytest.approx(expected, rel=1e-4)


def test_scores_are_a_recordings(before, tmp_path):
    recording = record(before, FACTS, tmp_path / "x.h5", hooks="blocks.0.hook_out")
    found = patched(before, before, hooks="blocks.0.hook_out", positions=["all"])
    assert found.target.logprob == pytest.approx(recording.logprob, rel=1e-5)
    assert (found.target.right == recording.right).all()


def test_batches_and_order_do_not_matter(before, after):
    options = {"hooks": "blocks.1.hook_out", "positions": ["subject"]}
    one = activation_patching(before, after, FACTS, batch_facts=1, **options)
    whole = activation_patching(before, after, FACTS, batch_facts=64, **options)
    assert one.logprob == pytest.approx(whole.logprob, rel=1e-4)
    turned = activation_patching(before, after, FACTS[::-1], **options)
    assert turned.logprob[:, ::-1] == pytest.approx(whole.logprob, rel=1e-4)


def test_places_are_the_subjects_tokens(before):
    asked = Questions(before, FACTS, 12)
    rows = asked.batches[0]
    ids = asked.ids(rows)
    owner, tokens = asked.places(rows, "subject")
    for i, row in enumerate(rows):
        text = before.tokenizer.decode(ids[i, tokens[owner == i]])
        assert FACTS[row].subject in text
        assert len(text.strip()) <= len(FACTS[row].subject) + 1
    _, last = asked.places(rows, "subject_last")
    assert all(int(tokens[owner == i].max()) == int(last[i]) for i in range(len(rows)))


def test_training_mode_is_given_back(before, after):
    source, target = before.copy(), after.copy()
    source.network.train()
    patched(source, target, hooks="blocks.0.hook_out", positions=["prompt_last"])
    assert source.network.training
    assert not target.network.training


def test_cells_are_in_forward_order(before, after):
    found = patched(
        before,
        after,
        hooks=["blocks.1.attn.hook_z", "blocks.0.hook_out"],
        positions=["prompt_last", "subject"],
    )
    expected = pd.DataFrame(
        [
            ("blocks.0.hook_out", "prompt_last"),
            ("blocks.0.hook_out", "subject"),
            ("blocks.1.attn.hook_z", "prompt_last"),
            ("blocks.1.attn.hook_z", "subject"),
        ],
        columns=["hook", "position"],
    )
    assert found.cells[["hook", "position"]].equals(expected)
    assert found.cells["head"].isna().all()


def test_models_that_are_not_alike_are_refused(before):
    for other in (tiny_model("qwen2"), tiny_model(num_hidden_layers=2)):
        with pytest.raises(InputError, match="differ in architecture or size"):
            patched(other, before)


def test_what_is_not_there_is_refused(before):
    with pytest.raises(InputError, match="no position is named 'subject_lst'; near it"):
        patched(before, before, positions=["subject_lst"])
    with pytest.raises(InputError, match="no positions are named"):
        patched(before, before, positions=[])
    with pytest.raises(InputError, match=r"hook_subject_mass can be recorded, but not"):
        patched(before, before, hooks="*.hook_subject_mass")
    with pytest.raises(InputError, match="there are no facts"):
        activation_patching(before, before, FACTS[:0])


def test_another_tokenizer_is_refused(before):
    words = copy.deepcopy(before.tokenizer)
    words.add_tokens(["<new>"])
    other = type(before)("other words", before.network, words)
    with pytest.raises(InputError, match="different tokenizers"):
        patched(other, before)
