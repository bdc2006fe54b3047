"""Where the budget goes."""

import pytest
import torch

from interfere.errors import InputError
from interfere.training.cost import Cost
from interfere.training.predicted_harm import fact_logprobs, fact_risk, row_harm
from interfere.training.replay import Replay
from interfere.training.rows import prompt_rows
from interfere.training.targeted_distillation import ON_ROWS, TargetedDistillation
from interfere.training.train import train

NUMBERS = torch.arange(18)


def weights(model, start, step=0, **settings):
    spender = TargetedDistillation(**settings).spending(start)
    return spender(NUMBERS, model.network, step)


@pytest.mark.parametrize("spend", ON_ROWS)
@pytest.mark.parametrize(("budget", "rows"), [(0.25, 4), (0.5, 9), (1.0, 18)])
def test_a_share_of_the_rows_is_chosen(model, begin, spend, budget, rows):
    found = weights(model, begin(model), spend=spend, budget=budget)
    assert found.sum() == rows
    assert set(found.tolist()) <= {0.0, 1.0}


def test_harmful_rows_are_chosen(model, begin, split):
    start = begin(model)
    found = weights(model, start, spend="harm", budget=1 / 3)
    harm = row_harm(model, split.others, start)
    assert harm[found == 1].min() >= harm[found == 0].max()
    assert start.cost.measured_rows == 4 + 18 + 18


def test_looking_is_counted_as_what_it_takes(model, begin, split):
    """A forward alone for overlap and for asking who fell, forward and backward for risk."""
    overlap, risk, fallen = begin(model), begin(model), begin(model)
    weights(model, overlap, spend="overlap")
    assert (overlap.cost.asked_rows, overlap.cost.measured_rows) == (4 + 18, 0)
    TargetedDistillation("risk").added_rows(risk).refresh(model.network, 0)
    assert (risk.cost.asked_rows, risk.cost.measured_rows) == (0, 4 + 18)
    added = TargetedDistillation("fallen", refresh=2).added_rows(fallen)
    for step in (0, 1, 2):
        added.refresh(model.network, step)
    assert (fallen.cost.asked_rows, fallen.cost.measured_rows) == (4 + 4, 4 + 18)


def test_uniform_is_drawn_anew_when_due(model, begin):
    spender = TargetedDistillation("uniform", refresh=5).spending(begin(model))
    draws = [spender(NUMBERS, model.network, step) for step in range(11)]
    assert all(draw.equal(draws[0]) for draw in draws[:5])
    assert not draws[5].equal(draws[0])
    assert not draws[10].equal(draws[5])


@pytest.mark.parametrize("spend", ["risk", "fallen"])
def test_questions_at_most_risk_are_added(model, begin, split, spend):
    start = begin(model)
    added = TargetedDistillation(spend).added_rows(start)
    added.refresh(model.network, 0)
    risk = fact_risk(model, split.others, start)
    questions = prompt_rows(split.others, model.tokenizer)
    assert list(added.rows) == [questions[int(risk.argmax())]]
    assert all(label == -100 for row in added.rows for label in row["labels"])


def test_what_has_fallen_most_is_added(model, begin, split):
    added = TargetedDistillation("fallen", refresh=2).added_rows(begin(model))
    added.refresh(model.network, 0)
    tuned = train(model, split, steps=4, batch_size=6, learning_rate=3e-3)
    first = list(added.rows)
    added.refresh(tuned.network, 1)  # not due yet
    assert list(added.rows) == first
    added.refresh(tuned.network, 2)
    fall = fact_logprobs(model, split.others) - fact_logprobs(tuned, split.others)
    questions = prompt_rows(split.others, model.tokenizer)
    assert list(added.rows) == [questions[int(fall.argmax())]]


def test_teacher_runs_on_what_is_chosen_alone(model, split):
    def cost(**settings):
        counted = Cost()
        mitigation = TargetedDistillation(**settings)
        train(model, split, mitigation=mitigation, epochs=2, batch_size=6, cost=counted)
        return counted.rows, counted.added_rows, counted.teacher_rows

    assert cost(spend="harm", budget=1 / 3) == (36, 0, 12)
    assert cost(spend="uniform", budget=1 / 3) == (36, 0, 12)
    assert cost(spend="risk", budget=0.5) == (54, 18, 18)
    assert cost(spend="uniform old", budget=0.5) == (54, 18, 18)


def test_rows_of_another_mitigation_are_not_distilled_on(model, split):
    """Replayed facts come beside those among which rows are chosen."""
    cost = Cost()
    both = [TargetedDistillation("uniform", budget=1.0), Replay(ratio=0.5)]
    train(model, split, mitigation=both, steps=4, batch_size=6, cost=cost)
    assert cost.added_rows > 0
    assert cost.teacher_rows == cost.rows - cost.added_rows


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spend": "luck"}, "spend must be 'harm' or .*, got 'luck'"),
        ({"budget": 0.0}, "budget must be above 0 and at most 1, got 0.0"),
        ({"budget": 1.5}, "budget must be above 0 and at most 1, got 1.5"),
        ({"spend": "risk", "budget": 0}, "budget must be above 0, got 0"),
        ({"refresh": -1}, "refresh must be 0 steps or more"),
        ({"temperature": 0}, "temperature must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TargetedDistillation(**settings)


def test_without_old_facts_it_is_refused(model, begin):
    with pytest.raises(InputError, match="targeted distillation needs facts"):
        TargetedDistillation("risk").added_rows(begin(model, old=None))
    with pytest.raises(InputError, match="targeted distillation needs facts"):
        TargetedDistillation("harm").spending(begin(model, old=None))
