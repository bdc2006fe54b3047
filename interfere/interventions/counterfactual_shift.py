"""Is the old answer still there, behind a shift that all facts of a relation share?"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.interventions.alike import replaceable, side_by_side
from interfere.interventions.asking import Questions, Scores, ask_patched, look
from interfere.interventions.outcomes import Outcomes, collect
from interfere.measures.common_shift import common_shift
from interfere.measures.rows import as_rows
from interfere.models.model import Model
from interfere.models.patching import Patch
from interfere.progress import progress

SHIFTS = ("common out", "residual out", "both out")
"""z(t) - c(t), z(0) + c(t), and beside them z(0): the old activation itself."""


def counterfactual_shift(
    before: Model,
    after: Model,
    facts: FactSet,
    *,
    hooks: str | Sequence[str] = "blocks.*.hook_out",
    position: str = "subject_last",
    batch_facts: int = 64,
) -> Outcomes:
    """Ask the tuned model with its activations shifted as if training had done less.

    At a hook and position, fact i moved by z_i(t) - z_i(0) = c_i(t) + r_i(t): what the
    other facts of its relation moved by on average, and a residual of its own. Put back,
    while the tuned model is asked again:

    - `common out`: z(t) - c(t). If forgotten answers come back, they were there and were
      misread through a shift that all facts share.
    - `residual out`: z(0) + c(t). If right answers stay right and forgotten ones come back,
      it was the residual that did the harm; if forgotten ones stay away, the shift did.
    - `both out`: z(0), activation patching: what any of this can bring back here.

    The mean leaves out the fact itself, so nothing of its own movement is called common;
    facts with its answer are among the others. Blind to what moved at other tokens, whose
    keys and values stay the tuned model's. Intervals count c as given.

    One forward pass of each model for the activations and one of each without a change;
    then three passes of the tuned model a hook. Memory: four times the activations of all
    facts at the hooks named.

    Args:
        before: the old model (the format checkpoint).
        after: the tuned one, of the same architecture, sizes and tokenizer.
        facts: two or more of each relation; right before training, forgotten or not.
        hooks: names or patterns; each is tried by itself.
        position: of one token: `subject_last`, `prompt_last` or `answer_first`.
        batch_facts: facts in one forward pass.

    Returns:
        Cells: hook, position, shift (of `SHIFTS`); source: before, target: after.

    Raises:
        InputError: models that are not alike, a relation with one fact, a position of
            several tokens, a hook that is not there or can't be replaced, a NaN or infinite
            activation.

    Source: arXiv 2610.08718 (the two counterfactuals); the leave-one-out mean and the
    intervals are ours.
    """
    if position in ("subject", "all"):
        raise InputError(
            f"{position!r} is of several tokens, whose shifts have no common mean; choose "
            "subject_last, prompt_last or answer_first"
        )
    names = replaceable(after, hooks)
    questions = Questions(after, facts, batch_facts)
    relations = [fact.relation for fact in facts]
    cells = [(hook, position, shift) for hook in names for shift in SHIFTS]

    def found() -> Iterator[tuple[list[int], list[Scores]]]:
        old, new = (
            _everywhere(model, questions, names, position) for model in (before, after)
        )
        put = {name: _shifted(old[name], new[name], relations, name) for name in names}
        for rows in questions.batches:
            scores = [questions.score(model, rows) for model in (before, after)]
            where = questions.places(rows, position)
            for hook, _, shift in cells:
                patch = Patch(*where, put[hook][shift][rows])
                scores.append(ask_patched(after, questions, rows, {hook: patch}))
                advance()
            yield rows, scores

    total = len(questions.batches) * len(cells)
    with side_by_side(before, after), progress("asking again", total) as advance:
        return collect(
            pd.DataFrame(cells, columns=["hook", "position", "shift"]), facts, found()
        )


def _shifted(
    old: Tensor, new: Tensor, relations: Sequence[str], hook: str
) -> dict[str, Tensor]:
    """What is put back at a hook, by shift; shaped as its activations."""
    before, after = as_rows(old, f"before, {hook}"), as_rows(new, f"after, {hook}")
    _check_not_alone(relations)
    common = common_shift(after - before, relations)
    shifted = (after - common, before + common)
    values = [torch.from_numpy(rows).reshape(old.shape).to(old.dtype) for rows in shifted]
    return dict(zip(SHIFTS, [*values, old], strict=True))


def _check_not_alone(relations: Sequence[str]) -> None:
    counts = Counter(relations)
    if alone := [relation for relation in relations if counts[relation] < 2]:
        raise InputError(
            f"relation {alone[0]} has one fact, so there are no others that it could share a "
            "shift with; give two or more of each"
        )


def _everywhere(
    model: Model, questions: Questions, hooks: Sequence[str], position: str
) -> dict[str, Tensor]:
    """Activations of all facts on the host, in the facts' order."""
    found: dict[str, list[Tensor]] = {hook: [] for hook in hooks}
    order: list[int] = []
    for rows in questions.batches:
        _, seen = look(model, questions, rows, hooks, [position])
        order += rows
        for hook in hooks:
            found[hook].append(seen[hook, position].cpu())
    back = torch.from_numpy(np.argsort(order))
    return {hook: torch.cat(parts)[back] for hook, parts in found.items()}
