"""Where does putting back the old activation bring back the old answer?"""

from collections.abc import Iterator, Sequence

import pandas as pd

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.interventions.alike import replaceable, side_by_side
from interfere.interventions.asking import Questions, Scores, ask_patched, look
from interfere.interventions.outcomes import Outcomes, collect
from interfere.models.hooks import shape
from interfere.models.model import Model
from interfere.models.patching import Patch
from interfere.progress import progress

HOOKS = ("blocks.*.hook_out", "blocks.*.hook_attn_out", "blocks.*.hook_mlp_out")

Cell = tuple[str, str, int | None]
"""Hook, position, head."""


def activation_patching(
    source: Model,
    target: Model,
    facts: FactSet,
    *,
    hooks: str | Sequence[str] = HOOKS,
    positions: Sequence[str] = ("subject_last", "subject", "prompt_last"),
    each_head: bool = False,
    batch_facts: int = 64,
) -> Outcomes:
    """Ask the target with the source's activation at one hook and position at a time.

    With the old model as source and the tuned one as target: what is put back, and does
    the answer come back? The other way round: what is enough to spoil the old model?
    Facts are asked zero-shot, the canonical answer and its end appended; both models run
    the same batches, so a model patched into itself answers with the same bits.

    What it shows is what suffices, not what is needed: the residual stream at the last
    subject token carries all that was read there up to its block, so a high share there and
    none at a later position says where the answer still passed, not which weights changed.
    Other tokens keep the target's keys and values, and final norm and unembedding are the
    target's: all tokens of the last block bring back everything only where these two did
    not change.

    One forward pass of the target for each hook, position (and head), one of the source
    for all of them. Memory: the activations of one batch.

    Args:
        source: whose activations are put in.
        target: which is asked; of the same architecture, sizes and tokenizer.
        facts: those that were right in the old model, not only the forgotten ones: chosen
            by what training did to them, they would come back in part by chance alone.
        hooks: names or patterns; `attn.hook_z` patches all heads of a block together.
        positions: `subject_last`, `subject` (all its tokens), `prompt_last`,
            `answer_first`, `all` (every token of prompt and answer).
        each_head: patch each head of `attn.hook_z` by itself.
        batch_facts: facts in one forward pass.

    Returns:
        Cells: hook, position, head (missing where it is not one head).

    Raises:
        InputError: models that are not alike, no facts, no or unknown positions, a hook
            that is not there or can't be replaced.

    Source: causal tracing (arXiv 2202.05262, §2) between two models instead of two
    prompts: cross-model activation patching (arXiv 2402.14811).
    """
    names = replaceable(target, hooks)
    cells = _cells(target, names, positions, each_head)
    questions = Questions(target, facts, batch_facts)

    def found() -> Iterator[tuple[list[int], list[Scores]]]:
        for rows in questions.batches:
            theirs, values = look(source, questions, rows, names, positions)
            scores = [theirs, questions.score(target, rows)]
            for hook, position, head in cells:
                put = values[hook, position]
                patch = Patch(
                    *questions.places(rows, position),
                    put if head is None else put[:, head],
                    head,
                )
                scores.append(ask_patched(target, questions, rows, {hook: patch}))
                advance()
            yield rows, scores

    total = len(questions.batches) * len(cells)
    with side_by_side(source, target), progress("patching", total) as advance:
        table = pd.DataFrame(cells, columns=["hook", "position", "head"])
        return collect(table.astype({"head": "Int64"}), facts, found())


def _cells(
    model: Model, hooks: Sequence[str], positions: Sequence[str], each_head: bool
) -> list[Cell]:
    if not positions:
        raise InputError("no positions are named; the default is subject_last, …")
    heads = {
        hook: range(shape(model.network, hook)[0])
        if each_head and hook.endswith("attn.hook_z")
        else [None]
        for hook in hooks
    }
    return [
        (h, p, head) for h in hooks for p in dict.fromkeys(positions) for head in heads[h]
    ]
