"""Mitigations by name: what they draw is drawn under the run's seed."""

import pytest

from interfere.training.freezing import Freezing
from interfere.training.names import MITIGATIONS, named_mitigation

DRAWING = {"freezing": {"trains": "attention", "random_control": True}}


@pytest.mark.parametrize("name", ["freezing", "targeted-distillation"])
def test_the_seed_is_handed_on_unless_it_is_set(name):
    settings = DRAWING.get(name, {})
    assert named_mitigation(name, settings, seed=7).seed == 7
    assert named_mitigation(name, {**settings, "seed": 3}, seed=7).seed == 3


@pytest.mark.parametrize("name", sorted(set(MITIGATIONS) - {"freezing"}))
def test_every_mitigation_can_be_made_under_a_seed(name):
    made = named_mitigation(name, {}, seed=7)
    assert getattr(made, "seed", 7) == 7


def test_random_weights_differ_between_seeds(model):
    masks = []
    for seed in (0, 0, 1):
        freezing = named_mitigation("freezing", DRAWING["freezing"], seed=seed)
        assert isinstance(freezing, Freezing)
        network = model.copy().network
        freezing.change(network)
        masks.append(
            {
                n: p._interfere_mask[1]
                for n, p in network.named_parameters()
                if hasattr(p, "_interfere_mask")
            }
        )
    same = [all(masks[0][n].equal(other[n]) for n in masks[0]) for other in masks[1:]]
    assert same == [True, False]


def test_plain_fine_tuning_draws_nothing():
    assert named_mitigation(None, {}, seed=7) is None
