"""At the last layer the lens is the model's own logits, in every architecture."""

import numpy as np
import pytest
import torch
from tiny_models import CONFIGS, places, shaken, tiny_model

from interfere.activations.recorder import record
from interfere.errors import InputError
from interfere.measures.comparison import compare
from interfere.measures.logit_lens import answer_tokens, lens_change, logit_lens, said
from interfere.models.evaluating import evaluating

FACTS = places()[:8]


def own_words(model, recording) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability and rank of the answer's first token, from the model's own logits."""
    logprobs, ranks = [], []
    with evaluating(model.network), torch.no_grad():
        for tokens, at in zip(recording.tokens, recording.at("prompt_last"), strict=True):
            ids = torch.tensor(tokens[: at + 1].astype(np.int64))[None]
            scores = model.network(input_ids=ids).logits[0, -1].double().log_softmax(-1)
            own = scores[int(tokens[at + 1])]
            logprobs.append(float(own))
            ranks.append(int((scores > own).sum()) + 1)
    return np.array(logprobs), np.array(ranks)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_the_last_layer_is_the_models_own(architecture, tmp_path):
    model = tiny_model(architecture)
    recording = record(model, FACTS, tmp_path / "all.h5")
    table = logit_lens(model, recording)
    last = table[table["layer"] == model.layers - 1]
    logprobs, ranks = own_words(model, recording)
    assert last["fact"].tolist() == FACTS.ids
    assert last["logprob"].to_numpy() == pytest.approx(logprobs, rel=1e-3, abs=1e-3)
    assert np.abs(last["rank"].to_numpy() - ranks).max() <= 1  # a tie up to rounding
    earlier = table[table["layer"] == 0]["logprob"].to_numpy()
    assert np.abs(earlier - logprobs).max() > 0.01, "layers say one thing"


def test_softcap_and_norm_are_the_heads(tmp_path):
    """Gemma caps its logits: without the cap no log-probability would be the model's."""
    model = tiny_model("gemma2", final_logit_softcapping=0.5)
    recording = record(model, FACTS, tmp_path / "all.h5")
    last = logit_lens(model, recording).query("layer == 2")
    assert last["logprob"].to_numpy() == pytest.approx(
        own_words(model, recording)[0], abs=1e-4
    )


def test_rank_by_hand():
    model = tiny_model()
    head = model.network.get_output_embeddings().weight.detach()
    norm = model.network.model.norm
    residual = torch.randn(300, 64, generator=torch.Generator().manual_seed(0))
    logits = (norm(residual) @ head.T).detach().numpy()
    order = (-logits).argsort(1)
    for rank in (1, 2, 500):
        found = said(model, residual.numpy(), order[:, rank - 1].astype(np.int64))
        assert (found.rank == rank).all()
    assert (found.logprob <= 0).all()


@pytest.fixture(scope="module")
def models():
    return tiny_model(), shaken(3, 0.05)


@pytest.fixture(scope="module")
def change(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lens")
    hooks = ["blocks.*.hook_out", "blocks.*.hook_mlp_out", "ln_final.hook_out"]
    return compare(
        *(
            record(model, places(), folder / f"{model.name}.h5", hooks=hooks)
            for model in models
        )
    )


def test_change_is_that_of_the_two_lenses(models, change):
    before, after = models
    table = lens_change(before, after, change, resamples=300)
    assert table["hook"].tolist() == [f"blocks.{i}.hook_out" for i in range(3)]
    old, new = logit_lens(before, change.pair.before), logit_lens(after, change.pair.after)
    for row in table.itertuples():
        x, y = (side[side["hook"] == row.hook] for side in (old, new))
        assert row.before == pytest.approx(x["logprob"].mean())
        assert row.after == pytest.approx(y["logprob"].mean())
        assert row.change == pytest.approx(row.after - row.before)
        assert row.misread == pytest.approx(row.after - row.old_head)
        assert row.change_low < row.change < row.change_high
        assert (row.rank_before, row.rank_after) == (x["rank"].median(), y["rank"].median())
        assert row.first_after == (y["rank"] == 1).mean()
    crossed = said(
        before,
        change.pair.after["blocks.1.hook_out", "prompt_last"].numpy(),
        answer_tokens(change.pair.after, "prompt_last"),
    )
    assert table["old_head"][1] == pytest.approx(crossed.logprob.mean())


def test_a_turned_stream_is_misread_by_the_old_head(change, models):
    """All that writes and reads the stream turned by 90 degrees: the model says the same."""
    model = models[0]
    recording = change.pair.before
    rows = recording["blocks.2.hook_out", "prompt_last"].numpy()
    tokens = answer_tokens(recording, "prompt_last")
    turn = np.roll(np.arange(64), 7)
    turned = model.copy("turned")
    for weight in (turned.network.model.norm.weight, turned.network.lm_head.weight):
        weight.data = weight.data[..., torch.from_numpy(turn)]
    plain = said(model, rows, tokens).logprob
    assert said(turned, rows[:, turn], tokens).logprob == pytest.approx(plain, abs=1e-4)
    assert np.abs(said(model, rows[:, turn], tokens).logprob - plain).mean() > 0.1


def test_another_model_is_refused(models, change):
    with pytest.raises(
        InputError, match=r"was recorded with the weights .* but shaken has"
    ):
        logit_lens(models[1], change.pair.before)
    with pytest.raises(InputError, match="give the model that was recorded"):
        lens_change(models[1], models[0], change)


def test_places_without_an_answer_to_come_are_refused(models, change, tmp_path):
    with pytest.raises(InputError, match="first token has been read; use prompt_last"):
        logit_lens(models[0], change.pair.before, position="answer_first")
    only = record(models[0], FACTS, tmp_path / "only.h5", positions=["subject_last"])
    with pytest.raises(InputError, match="doesn't say where answers begin"):
        logit_lens(models[0], only, position="subject_last")
    mlp = record(models[0], FACTS, tmp_path / "mlp.h5", hooks="blocks.*.hook_mlp_out")
    with pytest.raises(InputError, match="holds no residual stream"):
        logit_lens(models[0], mlp)
