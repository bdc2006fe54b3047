import pytest

from interfere.errors import InputError
from interfere.facts.fact import Fact, FactSet
from interfere.knowledge.exemplars import prefixes, reserve


def facts(many, answers=5, relation="P17"):
    rows = [
        Fact(f"{relation} {i}", f"city {i}", relation, f"land {i % answers}")
        for i in range(many)
    ]
    return FactSet(tuple(rows), "test")


@pytest.mark.parametrize(
    ("many", "shots", "size"),
    [(1000, 4, 40), (1000, 6, 60), (100, 4, 20), (10, 4, 4), (1000, 0, 0)],
)
def test_pool_is_at_most_a_fifth_where_that_is_enough(many, shots, size):
    pool = reserve(facts(many), shots=shots, seed=0)
    assert len(pool) == size
    assert set(pool.ids) <= set(facts(many).ids)


def test_each_relation_has_a_pool_of_its_own():
    both = facts(200) + facts(300, relation="P30")
    pool = reserve(both, shots=4, seed=0)
    assert [sum(f.relation == r for f in pool) for r in ("P17", "P30")] == [40, 40]
    alone = reserve(facts(300, relation="P30"), shots=4, seed=0)
    assert [f for f in pool if f.relation == "P30"] == list(alone)


def test_no_answer_twice_in_a_prefix_where_there_are_enough():
    for text, shown in prefixes(facts(40), "P17", prompts=10, shots=4, seed=0):
        assert len({fact.answer for fact in shown}) == 4
        assert text.count("\nA:") == 4
        assert text.endswith(f" {shown[-1].answer}\n")


def test_two_answers_fill_four_shots():
    _, shown = prefixes(facts(40, answers=2), "P17", prompts=1, shots=4, seed=0)[0]
    assert len(set(shown)) == 4


def test_prefixes_follow_the_seed():
    one, same, other = (
        [text for text, _ in prefixes(facts(40), "P17", prompts=10, shots=4, seed=seed)]
        for seed in (0, 0, 1)
    )
    assert one == same != other
    assert len(set(one)) == 10


def test_too_few_facts_are_refused():
    with pytest.raises(InputError, match=r"P17 has 4 facts, too few to take 4 exemplars"):
        reserve(facts(4), shots=4, seed=0)
    with pytest.raises(InputError, match="3 exemplars of P17 for 4 shots"):
        prefixes(facts(3), "P17", prompts=1, shots=4, seed=0)
