"""The table is the recordings' masses; a head that looks away is found."""

import numpy as np
import pytest
import torch
from tiny_models import places, tiny_model

from interfere.activations.recorder import record
from interfere.activations.recording import open_recording
from interfere.errors import InputError
from interfere.measures.attention import subject_attention
from interfere.measures.comparison import compare
from interfere.measures.statistics import mean_interval

HOOK = "blocks.1.attn.hook_subject_mass"


@pytest.fixture(scope="module")
def change(tmp_path_factory):
    """After: head 2 of block 1 has no preference, so that it attends to all alike."""
    model, blurred = tiny_model(), tiny_model()
    projection = blurred.network.model.layers[1].self_attn.q_proj.weight
    projection.data.view(4, 16, 64)[2] = 0
    folder = tmp_path_factory.mktemp("attention")
    return compare(
        *(
            record(m, places(), folder / name, hooks="blocks.*.attn.hook_subject_mass")
            for m, name in ((model, "before.h5"), (blurred, "after.h5"))
        )
    )


def test_means_are_those_of_the_recordings(change):
    table = subject_attention(change, heads=True, resamples=300)
    assert len(table) == 3 * 3 * (1 + 4)
    answers = change.pair.before.table["answer"]
    for row in table.itertuples():
        x, y = (side.numpy() for side in change.pair[row.hook, row.position])
        of = slice(None) if row.head == "mean" else slice(row.head, row.head + 1)
        before, after = x[:, of].astype(float).mean(1), y[:, of].astype(float).mean(1)
        assert row.before == pytest.approx(before.mean())
        expected = mean_interval((after - before)[None], answers, resamples=300)
        assert row.change == pytest.approx(expected.value, abs=1e-12)
        assert row.change_low == pytest.approx(expected.low, abs=1e-12)


def test_only_the_changed_head_and_what_follows_it_changed(change):
    table = subject_attention(change, heads=True, resamples=300)
    table = table[table["position"] == "prompt_last"].set_index(["layer", "head"])
    assert not table.loc[0, "change"].any()
    assert not table.loc[1].loc[[0, 1, 3], "change"].any()
    assert table.loc[(1, 2), "change"] != 0
    assert table.loc[2, "change"].all()


def test_a_head_without_preference_gives_each_token_the_same(change):
    """Its mass on the subject is the share of the tokens so far that are the subject's."""
    recording = change.pair.after
    mass = recording[HOOK, "subject_last"].numpy()[:, 2]
    seen = recording.at("subject_last") + 1
    tokens = mass * seen
    assert tokens == pytest.approx(np.round(tokens), abs=1e-4)
    assert (np.round(tokens) >= 1).all()


def test_by_default_heads_are_averaged(change):
    table = subject_attention(change, resamples=50)
    assert set(table["head"]) == {"mean"}
    assert table["hook"].tolist() == change.pair.hooks * 3
    assert table["before"].between(0, 1).all()


def test_recordings_without_it_are_refused(tmp_path):
    plain = record(tiny_model(), places()[:5], tmp_path / "plain.h5")
    with pytest.raises(InputError, match=r"record both with hooks='blocks.*subject_mass'"):
        subject_attention(compare(plain, plain))


def test_a_mass_beyond_one_is_refused(tmp_path):
    good = record(tiny_model(), places()[:5], tmp_path / "good.h5", hooks=HOOK)
    key = HOOK, "prompt_last"
    where = good[key]
    values = torch.from_numpy(where.numpy().copy())
    values[3, 1] = 1.5
    with (tmp_path / "good.h5").open("r+b") as file:
        file.seek(where.offset)
        file.write(values.numpy().tobytes())
    damaged = open_recording(tmp_path / "good.h5")
    with pytest.raises(InputError, match=r"prompt_last: fact 3, head 1 has the mass 1.5"):
        subject_attention(compare(damaged, damaged), resamples=50)
