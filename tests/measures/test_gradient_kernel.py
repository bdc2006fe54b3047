"""Kernels and blame on gradients made by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet
from interfere.measures.gradient_blame import blame, harm, risk
from interfere.measures.gradient_kernel import agreement, gradient_kernel


def facts(count: int, name: str, answers: int = 5) -> FactSet:
    return FactSet(
        tuple(
            Fact(f"{name} {i}", f"subject {i}", "P17", f"answer {i % answers}")
            for i in range(count)
        ),
        name,
    )


def random_sides(seed: int, old: int = 7, new: int = 5):
    rng = np.random.default_rng(seed)
    return [
        {"attention": rng.normal(size=(n, 9)), "ffn": rng.normal(size=(n, 4))}
        for n in (old, new)
    ]


def kernel(old, new, **options):
    sizes = [len(next(iter(side.values()))) for side in (old, new)]
    return gradient_kernel(
        old, new, facts(sizes[0], "old"), facts(sizes[1], "new"), **options
    )


BY_HAND = kernel(
    {"attention": np.array([[3.0, 4], [0, 1]]), "ffn": np.array([[0.0], [2]])},
    {"attention": np.array([[1.0, 0]]), "ffn": np.array([[-1.0]])},
)


def test_by_hand():
    assert BY_HAND.product().tolist() == [[3], [-2]]
    assert BY_HAND.product("attention").tolist() == [[3], [0]]
    assert BY_HAND.cosine("attention").tolist() == [[0.6], [0]]
    expected = [[3 / (5 * np.sqrt(2))], [-2 / np.sqrt(10)]]
    np.testing.assert_allclose(BY_HAND.cosine(), expected)
    np.testing.assert_allclose(BY_HAND.rise(0.1, 2), [[-0.15], [0.1]])
    shares = BY_HAND.shares().set_index("component")
    assert shares.loc["ffn", "old"] == pytest.approx((0 + 4 / 5) / 2)
    assert shares.loc["ffn", "new"] == pytest.approx(1 / 2)


def test_table_has_a_row_a_pair():
    found = BY_HAND.table()
    assert found["old"].tolist() == ["old 0", "old 1"]
    assert found["new"].tolist() == ["new 0", "new 0"]
    assert found["old_answer"].tolist() == ["answer 0", "answer 1"]
    assert found["product"].tolist() == [3, -2]
    assert set(found["optimizer"]) == {"sgd"}


def test_a_part_is_the_kernel_of_its_facts_in_their_order():
    old, new = random_sides(3)
    found = kernel(old, new).part(["old 4", "old 1"], ["new 3", "new 0", "new 2"])
    own = [
        {name: values[places] for name, values in side.items()}
        for side, places in ((old, [4, 1]), (new, [3, 0, 2]))
    ]
    direct = kernel(*own)
    assert (found.old.ids, found.new.ids) == (
        ["old 4", "old 1"],
        ["new 3", "new 0", "new 2"],
    )
    np.testing.assert_allclose(found.product("ffn"), direct.product("ffn"))
    np.testing.assert_allclose(found.cosine(), direct.cosine())
    with pytest.raises(InputError, match="no fact has the id old 9"):
        kernel(old, new).part(["old 9"], ["new 0"])


def test_the_whole_is_all_components_at_once():
    plain = kernel(*random_sides(4))
    found = plain.whole()
    assert list(found.products) == ["whole"]
    np.testing.assert_allclose(found.product(), plain.product())
    np.testing.assert_allclose(found.cosine(), plain.cosine())


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10))
def test_what_changes_it_and_what_does_not(seed, scale):
    old, new = random_sides(seed)
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(9, 9)))
    plain = kernel(old, new)
    turned = kernel(*(side | {"attention": side["attention"] @ q} for side in (old, new)))
    np.testing.assert_allclose(turned.product(), plain.product(), atol=1e-9)
    larger = kernel(old, {name: scale * rows for name, rows in new.items()})
    np.testing.assert_allclose(larger.product(), scale * plain.product(), atol=1e-9)
    np.testing.assert_allclose(larger.cosine(), plain.cosine(), atol=1e-9)
    assert np.abs(plain.cosine()).max() <= 1 + 1e-12
    np.testing.assert_allclose(kernel(new, old).product(), plain.product().T, atol=1e-12)
    shifted = kernel(old, {name: rows + 1 for name, rows in new.items()})
    assert not np.allclose(shifted.product(), plain.product())


@pytest.mark.parametrize("seed", range(3))
def test_planted_harm_is_found(seed):
    """Four new facts pull against what all old ones share; the others are random."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=200) / np.sqrt(200)
    old, new = (rng.normal(size=(n, 200)) / np.sqrt(200) for n in (60, 40))
    old += common
    guilty = rng.choice(40, 4, replace=False)
    new[guilty] -= common
    endangered = rng.choice(60, 5, replace=False)
    old[endangered] += 2 * common
    found = kernel({"all": old}, {"all": new})
    table = blame(found)
    assert set(table["id"][:4]) == {f"new {i}" for i in guilty}
    assert (table["low"][:4] > 0).all()
    assert (table["low"] < table["harm"]).all()
    assert (table["harm"] < table["high"]).all()
    only = kernel({"all": old}, {"all": new[guilty]})
    assert set(risk(only)["id"][:5]) == {f"old {i}" for i in endangered}


def test_harm_is_the_sum_and_covers_it():
    """Under fresh answers, the interval holds the true sum at about its nominal rate."""
    inside = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        answers = np.arange(120) % 40
        rise = 0.3 + rng.normal(size=(40, 1))[answers] + rng.normal(size=(120, 1))
        found = harm(rise, answers, resamples=500, seed=seed).iloc[0]
        assert found["harm"] == pytest.approx(rise.sum())
        inside.append(found["low"] < 0.3 * 120 < found["high"])
    assert np.mean(inside) == pytest.approx(0.95, abs=0.045)


def test_one_answer_gives_no_interval():
    with pytest.warns(UserWarning, match="intervals are NaN"):
        assert harm(np.ones((3, 1)), ["a"] * 3)["low"].isna().all()


def test_zero_gradient_has_no_cosine():
    old, new = random_sides(0)
    old = {name: rows * (np.arange(7) != 2)[:, None] for name, rows in old.items()}
    with pytest.warns(UserWarning, match="cosine is NaN"):
        found = kernel(old, new).cosine()
    assert np.isnan(found[2]).all()
    assert np.isfinite(np.delete(found, 2, 0)).all()


def test_agreement_is_the_correlation_of_pairs():
    a, b = (kernel(*random_sides(seed)) for seed in (0, 1))
    table = agreement(a, b).set_index("component")
    expected = np.corrcoef(a.product().ravel(), b.product().ravel())[0, 1]
    assert table.loc["all", "product"] == pytest.approx(expected)
    assert agreement(a, a)["cosine"].to_numpy() == pytest.approx(1)


def test_bad_input_is_refused():
    old, new = random_sides(0)
    with pytest.raises(InputError, match="old, ffn: fact 3 has a NaN"):
        broken = old["ffn"].copy()
        broken[3, 0] = np.nan
        kernel(old | {"ffn": broken}, new)
    with pytest.raises(InputError, match=r"\['attention', 'ffn'\], new ones \['ffn'\]"):
        kernel(old, {"ffn": new["ffn"]})
    with pytest.raises(InputError, match="ffn: gradients of shapes"):
        kernel(old, new | {"ffn": new["ffn"][:, :2]})
    with pytest.raises(InputError, match="no component 'heads'; there are attention, ffn"):
        kernel(old, new).product("heads")
    with pytest.raises(InputError, match="other facts"):
        agreement(kernel(old, new), kernel(new, old))
