"""What the recorder refuses, and in what words."""

from dataclasses import replace

import pytest
import torch
from tiny_models import places, tiny_model

from interfere.activations.recorder import record
from interfere.errors import InputError
from interfere.facts.fact import FactSet


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hooks": "blocks.7.hook_out"}, r"no hook is named 'blocks.7.hook_out'"),
        ({"positions": ["prompt_first"]}, r"'prompt_first'; near it are prompt_last"),
        ({"positions": []}, r"no positions are named; there are subject_last"),
        ({"batch_facts": 0}, r"at least 1 fact, got 1024 and 0"),
    ],
)
def test_bad_arguments_leave_no_file(model, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        record(model, places(), tmp_path / "a.h5", **arguments)
    assert not list(tmp_path.iterdir())


def test_bad_facts(model, tmp_path):
    long = replace(places()[0], question="Where is Shanghai? " * 40)
    with pytest.raises(
        InputError, match=r"x: row 0 \('Shanghai'\) takes \d+ tokens, .* 128"
    ):
        record(model, FactSet((long,), "x"), tmp_path / "a.h5")
    with pytest.raises(InputError, match="x: there are no facts"):
        record(model, FactSet((), "x"), tmp_path / "a.h5")


def test_double_precision_is_refused(tmp_path):
    model = tiny_model()
    model.network.double()
    with pytest.raises(InputError, match=r"computes in float64; load it in float32"):
        record(model, places(), tmp_path / "a.h5")


def test_weights_that_became_nan_are_refused(tmp_path):
    model = tiny_model()
    record(model, places()[:4], tmp_path / "0.h5")
    with torch.no_grad():
        model.network.get_submodule("model.layers.1.mlp.down_proj").weight.fill_(torch.nan)
    with pytest.raises(
        InputError, match=r"blocks.1.hook_out is NaN .* on row 0 \('Shanghai'"
    ):
        record(model, places()[:4], tmp_path / "1.h5")


def test_a_network_without_weights_is_refused(tmp_path):
    model = tiny_model()
    model.network.to("meta")
    with pytest.raises(InputError, match="it lies on the device 'meta'"):
        record(model, places(), tmp_path / "a.h5")
