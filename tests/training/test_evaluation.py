"""Facts asked while training goes on."""

import pytest

from interfere.errors import InputError
from interfere.models.answering import ask
from interfere.training.evaluation import COLUMNS, AtSteps, FactEvaluation
from interfere.training.train import train


def test_table_has_a_row_a_step_set_and_fact(model, split):
    sets = {"known": split.known, "unknown": split.unknown}
    watch = FactEvaluation(sets, [2], model.tokenizer, paraphrase=["unknown"])
    tuned = train(model, split, steps=5, batch_size=8, callbacks=[watch])
    table = watch.table
    assert list(table.columns) == COLUMNS
    sizes = table.groupby(["step", "set"], sort=False).size().to_dict()
    per_step = {"known": 10, "unknown": 8, "unknown, paraphrase": 8}
    assert sizes == {(s, name): n for s in (0, 2, 5) for name, n in per_step.items()}
    assert table.groupby("step")["epoch"].first().to_dict() == pytest.approx(
        {0: 0.0, 2: 2 / 3, 5: 5 / 3}
    )
    for step, at in ((0, model), (5, tuned)):
        rows = table[(table["step"] == step) & (table["set"] == "known")]
        answers = ask(at, split.known, sampling=False)
        assert rows["fact"].tolist() == split.known.ids
        assert rows["right"].tolist() == answers.right.tolist()
        assert rows["logprob"].to_numpy() == pytest.approx(answers.logprob, abs=1e-5)


def test_watching_does_not_change_training(model, split):
    watch = FactEvaluation({"known": split.known}, [1, 2], model.tokenizer)
    watched = train(model, split, steps=3, callbacks=[watch])
    assert watched.digest == train(model, split, steps=3).digest


def test_function_gets_the_model_of_that_step(model, split):
    seen = {}

    def look(at, step):
        seen[step] = (at.digest, at.network.training)

    train(model, split, steps=3, callbacks=[AtSteps([0, 2], look, model.tokenizer)])
    assert seen == {
        0: (model.digest, False),
        2: (train(model, split, steps=2).digest, False),
    }


def test_steps_that_training_never_reaches_are_refused(model, split):
    with pytest.raises(InputError, match="step 9 is beyond this training's 3 steps"):
        train(model, split, steps=3, callbacks=[FactEvaluation({}, [9], model.tokenizer)])
    with pytest.raises(InputError, match="step -1 is before training begins"):
        AtSteps([-1], print, model.tokenizer)


def test_paraphrase_of_an_absent_set_is_refused(model):
    with pytest.raises(InputError, match="no set 'old' to paraphrase; the sets are"):
        FactEvaluation({}, [], model.tokenizer, paraphrase=["old"])
