"""Planted labels are found, memorised types are told from them, tables are the arrays'."""

import numpy as np
import pytest
from countries import countries
from tiny_models import tiny_model

from interfere.activations.recorder import record
from interfere.errors import InputError
from interfere.measures.control_task import control_labels, recurring
from interfere.measures.embedding_rows import embedding_rows
from interfere.measures.folds import fact_folds, make_folds
from interfere.measures.probe import probe, probes

FACTS, CLASSES, D = 300, 6, 12


def planted(seed: int, *, label: float, kind: float, types: int = 15):
    """Rows that say their label so loudly, and their type so loudly."""
    rng = np.random.default_rng(seed)
    labels, marks = rng.integers(0, CLASSES, FACTS), rng.integers(0, types, FACTS)
    x = rng.normal(size=(FACTS, D))
    x += label * rng.normal(size=(CLASSES, D))[labels]
    x += kind * rng.normal(size=(types, D))[marks]
    return x, labels, marks


def found(x, labels, marks, **options):
    folds = make_folds(labels, np.arange(FACTS))
    return probe(x, folds, clusters=labels, types=marks, resamples=400, **options)


def test_a_planted_label_is_found_and_selective():
    x, labels, marks = planted(0, label=3, kind=0)
    result = found(x, labels, marks)
    assert result.accuracy.value > 0.95
    assert result.accuracy.shows
    assert result.selectivity.low > 0.5
    assert result.recurring == pytest.approx(1)
    assert (result.classes, result.facts, result.left_out) == (CLASSES, FACTS, 0)


def test_noise_is_read_at_chance():
    x, labels, marks = planted(1, label=0, kind=0)
    result = found(x, labels, marks)
    assert result.accuracy.value == pytest.approx(result.chance, abs=0.08)
    assert not result.selectivity.shows


def test_what_types_say_is_not_selective():
    """Labels that the types decide are read well, and random ones as well: nothing learnt."""
    x, _, marks = planted(2, label=0, kind=4, types=40)
    labels = np.random.default_rng(0).integers(0, CLASSES, 40)[marks]
    result = found(x, labels, marks)
    assert result.accuracy.value > 0.6
    assert abs(result.selectivity.value) < 0.15


def test_gain_is_over_the_same_probe_on_the_baseline():
    x, labels, marks = planted(3, label=1, kind=0)
    below, _, _ = planted(3, label=0.3, kind=0)
    result = found(x, labels, marks, baseline=below)
    alone = found(below, labels, marks)
    expected = result.accuracy.value - alone.accuracy.value
    assert result.gain.value == pytest.approx(expected)
    assert result.gain.shows
    assert found(x, labels, marks, baseline=x).gain.value == 0


def test_without_types_and_baseline_there_is_no_number():
    x, labels, _ = planted(4, label=1, kind=0)
    result = probe(x, make_folds(labels, np.arange(FACTS)), clusters=labels)
    assert np.isnan([result.selectivity.value, result.gain.low, result.recurring]).all()
    assert np.isfinite(result.accuracy.value)


def test_equal_rows_are_nan():
    _, labels, marks = planted(5, label=1, kind=0)
    with pytest.warns(UserWarning, match="hook: the probe is NaN: all rows are equal"):
        result = found(np.full((FACTS, D), 0.1), labels, marks, name="hook")
    assert np.isnan([result.accuracy.value, result.selectivity.value]).all()


def test_control_labels_are_a_types_own_with_the_classes_frequencies():
    codes = np.repeat([0, 1], [1500, 500])
    types = np.arange(2000) // 2
    drawn = control_labels(codes, types, seed=3)
    assert (drawn[::2] == drawn[1::2]).all()
    assert drawn.mean() == pytest.approx(0.25, abs=0.05)
    assert np.corrcoef(drawn, codes)[0, 1] == pytest.approx(0, abs=0.1)
    assert (control_labels(codes, types, seed=4) != drawn).any()


def test_recurring_by_hand():
    types, fold = np.array(list("aabbc")), np.array([0, 1, 0, 0, 1])
    assert recurring(types, fold) == pytest.approx(2 / 5)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("probe") / "places.h5"
    return record(
        tiny_model(),
        countries(3, 22),
        path,
        hooks="blocks.[01].hook_out",
        positions=["subject_last", "answer_first"],
        scores=False,
    )


def test_the_table_is_the_arrays(recording):
    baseline = embedding_rows(tiny_model(), recording)
    table = probes(recording, baseline=baseline, resamples=200)
    assert table["hook"].tolist() == recording.hooks * 2
    assert table["layer"].tolist() == [0, 1] * 2
    folds = fact_folds(recording.table)
    key = "blocks.1.hook_out", "subject_last"
    types = [
        int(ids[at]) for ids, at in zip(recording.tokens, recording.at(key[1]), strict=True)
    ]
    expected = probe(
        recording[key].numpy(),
        folds,
        clusters=recording.table["answer"],
        types=types,
        baseline=baseline,
        resamples=200,
    )
    row = table[(table["hook"] == key[0]) & (table["position"] == key[1])].iloc[0]
    for name in ("accuracy", "selectivity", "gain"):
        interval = getattr(expected, name)
        assert row[f"{name}_low"] == interval.low
        assert row[f"{name}_smallest"] == pytest.approx(interval.smallest, nan_ok=True)
        assert row[name] == interval.value
    # The answer's own token is there to be read, whatever the weights are.
    assert (table["accuracy"][table["position"] == "answer_first"] > 0.9).all()


def test_known_and_unknown_are_read_from_two_recordings(tmp_path):
    keep = {"hooks": "blocks.0.hook_out", "positions": ["subject_last"], "scores": False}
    known = record(tiny_model(), countries(8, 5), tmp_path / "known.h5", **keep)
    unknown = record(tiny_model(), countries(8, 4, 5), tmp_path / "unknown.h5", **keep)
    labels = ["known"] * 40 + ["unknown"] * 32
    (row,) = probes(
        [known, unknown], labels=labels, baseline=None, resamples=200
    ).itertuples()
    assert (row.facts, row.classes, row.chance) == (72, 2, 40 / 72)
    assert row.accuracy_low < row.chance < row.accuracy_high, "the sets are of one kind"


def test_recordings_of_two_models_are_refused(recording, tmp_path):
    other = record(tiny_model(seed=1), countries(3, 5), tmp_path / "other.h5", scores=False)
    with pytest.raises(InputError, match=r"other.h5 was recorded with the weights .* one"):
        probes([recording, other], baseline=None)


def test_nothing_in_common_is_refused(recording, tmp_path):
    other = record(
        tiny_model(), countries(3, 5), tmp_path / "other.h5", hooks="blocks.2.hook_out"
    )
    with pytest.raises(InputError, match="have no hook in common"):
        probes([recording, other], baseline=None)


def test_no_subject_no_control_task(tmp_path):
    keep = {"hooks": "blocks.0.hook_out", "positions": ["prompt_last"], "scores": False}
    without = record(tiny_model(), countries(3, 22), tmp_path / "x.h5", **keep)
    with pytest.raises(InputError, match="no position is named 'subject_last'"):
        probes(without, baseline=None)


def test_embeddings_are_those_of_the_tokens(recording):
    model = tiny_model()
    rows = embedding_rows(model, recording)
    token = recording.tokens[7][recording.at("subject_last")[7]]
    expected = model.network.get_input_embeddings().weight[int(token)].detach().numpy()
    assert (rows[7] == expected).all()
    assert rows.shape == (66, 64)


def test_embeddings_of_another_tokenizer_are_refused(recording, nano):
    with pytest.raises(InputError, match="another tokenizer than that of nano"):
        embedding_rows(nano, recording)
