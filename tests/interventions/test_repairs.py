"""Repairs without training: their two ends exactly, and what lies between."""

import pytest
import torch
from tiny_models import CONFIGS, places, tiny_model

from interfere.errors import InputError
from interfere.interventions.common_shift_removal import CommonShiftRemoval
from interfere.interventions.interpolation import WiseFT
from interfere.interventions.repairs import REPAIRS, named_repair
from interfere.models.answering import ask


def same(one, other) -> bool:
    pairs = zip(
        one.network.state_dict().items(), other.network.state_dict().items(), strict=True
    )
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_wise_ft_is_its_two_ends_exactly(architecture):
    before, after = tiny_model(architecture, seed=0), tiny_model(architecture, seed=1)
    assert same(WiseFT(0).repair(before, after), before)
    assert same(WiseFT(1).repair(before, after), after)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_wise_ft_is_the_straight_line(architecture):
    before, after = tiny_model(architecture, seed=0), tiny_model(architecture, seed=1)
    found = WiseFT(0.25).repair(before, after).network.state_dict()
    old, new = before.network.state_dict(), after.network.state_dict()
    for name, value in found.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * old[name] + 0.25 * new[name])


def test_the_models_stay_as_they_are(before, after):
    kept = [model.digest for model in (before, after)]
    for name in REPAIRS:
        named_repair(name, {}, 0.0, places()).repair(before, after)
    assert [model.digest for model in (before, after)] == kept


@pytest.mark.parametrize("name", REPAIRS)
def test_the_whole_share_is_the_tuned_model(name, before, after):
    mended = named_repair(name, {}, 1.0, places()).repair(before, after)
    for model in (mended, after):
        model.network.eval()
    found, expected = (ask(m, places(), sampling=False).logprob for m in (mended, after))
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_common_shift_of_one_vector_goes_entirely(before):
    """The last block adds a vector to every token: taken out there, the old model is back."""
    after = before.copy("shifted")
    last = after.network.model.layers[-1]
    vector = torch.randn(64, generator=torch.Generator().manual_seed(0))

    def shifted(module, given, output):
        return output + vector

    last.register_forward_hook(shifted)
    hook = f"blocks.{after.layers - 1}.hook_out"
    mended = CommonShiftRemoval(places(), hook=hook).repair(before, after)
    old, new, back = (
        ask(m, places(), sampling=False).logprob for m in (before, after, mended)
    )
    assert abs(new - old).max() > 0.1
    assert back == pytest.approx(old, abs=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WiseFT(1.5), "share must be in"),
        (lambda: WiseFT(-0.1), "share must be in"),
        (lambda: CommonShiftRemoval(places(), share=2), "share must be in"),
        (lambda: named_repair("wiseft", {}, 1.0, places()), "there are wise-ft"),
        (lambda: named_repair("wise-ft", {"rank": 3}, 1.0, places()), "wise-ft"),
        (lambda: named_repair("direction-out", {}, 3.0, places()), "share"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_models_of_unlike_shapes(before):
    with pytest.raises(InputError, match="lacks; interpolate between models of one shape"):
        WiseFT(0.5).repair(before, tiny_model("gpt2"))
