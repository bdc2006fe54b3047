"""Logit lens: how near is each layer's residual stream to saying the answer?

The model is looked up for its final norm and unembedding and never run: activations come
from a recording.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float64, Int

from interfere.activations.recording import Recording
from interfere.errors import InputError
from interfere.measures.comparison import Comparison
from interfere.measures.interval_columns import corrected, interval_columns
from interfere.measures.rows import as_rows
from interfere.measures.statistics import mean_interval
from interfere.models.architectures import architecture
from interfere.models.head import unembed
from interfere.models.layers import layer, residual_layer
from interfere.models.model import Model

BATCH = 128
"""Facts whose logits are in memory at a time."""


@dataclass(frozen=True)
class Said:
    """Of one token a row: what the head makes of an activation."""

    logprob: Float64[np.ndarray, " facts"]
    """Nats, at most 0."""
    rank: Int[np.ndarray, " facts"]
    """1: no token is more probable; up to the vocabulary's size."""


def said(
    model: Model,
    residual: Float[np.ndarray, "facts d"],
    tokens: Int[np.ndarray, " facts"],
    name: str = "residual stream",
) -> Said:
    """Log-probability and rank of a token a row, by the model's final norm and unembedding.

    At the last layer these are the model's own. Before it they show what would be said if
    the remaining layers added nothing; a low value there is no proof of absence, since
    earlier layers may write in other directions than the head reads (use a probe).

    Raises:
        InputError: an unsupported architecture, or a value that isn't finite.

    Source: nostalgebraist 2020, "interpreting GPT: the logit lens"; with the final norm,
    as in Belrose et al. 2023, arXiv 2303.08112, §2.
    """
    network = model.network
    norm = network.get_submodule(architecture(network).final_norm)
    rows = torch.from_numpy(as_rows(residual, name)).to(network.dtype)
    logprobs, ranks = [], []
    for part, wanted in zip(
        rows.split(BATCH), torch.as_tensor(tokens).split(BATCH), strict=True
    ):
        with torch.no_grad():
            # As one sequence: some norms and heads expect [batch, tokens, d].
            logits = unembed(network, norm(part[None].to(model.device)))[0].double()
        own = wanted[:, None].to(logits.device)
        logprobs.append(logits.log_softmax(-1).gather(1, own)[:, 0].cpu())
        ranks.append((logits > logits.gather(1, own)).sum(1).cpu() + 1)
    return Said(torch.cat(logprobs).numpy(), torch.cat(ranks).numpy())


def logit_lens(
    model: Model, recording: Recording, *, position: str = "prompt_last"
) -> pd.DataFrame:
    """`said` of each fact's first answer token at each layer: a row a hook and fact.

    Columns: hook, layer, position, fact (its id), logprob, rank. The token is the first of
    the canonical answer; other accepted answers count as wrong.

    Args:
        model: the one that was recorded.
        recording: with the residual stream, `blocks.*.hook_out`.
        position: prompt_last, where the model says the answer, or subject_last.

    Raises:
        InputError: another model than the recorded one, a recording without the residual
            stream or such a position, or as in `said`.
    """
    _check_model(model, recording)
    tokens = answer_tokens(recording, position)
    tables = []
    for hook in residual_hooks(recording):
        found = said(model, recording[hook, position].numpy(), tokens, f"{hook}/{position}")
        place = {"hook": hook, "layer": layer(hook), "position": position}
        columns = {"logprob": found.logprob, "rank": found.rank}
        tables.append(pd.DataFrame(place | {"fact": recording.table["id"]} | columns))
    return pd.concat(tables, ignore_index=True)


def lens_change(
    before: Model,
    after: Model,
    change: Comparison,
    *,
    position: str = "prompt_last",
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Logit lens by layer, before and after: a row a hook.

    Columns: hook, layer, position, facts; then each with `…_low`, `…_high` and
    `…_smallest`, log-probabilities (nats) of the first answer token: before and after,
    each by its own head; old_head (after, by the head of before); change (after -
    before); misread (after - old_head: what the new head makes of the new stream and
    the old one doesn't); of the last two `…_p` and `…_p_holm` (over the layers). Then
    rank_before and rank_after (medians), first_before and first_after (share of facts
    where the token comes first). Intervals (95 %) resample answers.

    Raises:
        InputError: models that are not those recorded, or as in `logit_lens`.
    """
    pair = change.pair
    _check_model(before, pair.before)
    _check_model(after, pair.after)
    tokens = answer_tokens(pair.before, position)
    answers = pair.before.table["answer"]
    hooks = residual_hooks(pair.after)
    rows = []
    for hook in [hook for hook in residual_hooks(pair.before) if hook in hooks]:
        x, y = (side.numpy() for side in pair[hook, position])
        name = f"{hook}/{position}"
        old = said(before, x, tokens, f"before, {name}")
        new = said(after, y, tokens, f"after, {name}")
        crossed = said(before, y, tokens, f"after, {name}")
        values = {
            "before": old.logprob,
            "after": new.logprob,
            "old_head": crossed.logprob,
            "change": new.logprob - old.logprob,
            "misread": new.logprob - crossed.logprob,
        }
        intervals = {
            key: mean_interval(numbers[None], answers, resamples=resamples, seed=seed)
            for key, numbers in values.items()
        }
        place: dict[str, object] = {
            "hook": hook,
            "layer": layer(hook),
            "position": position,
        }
        ranks = {
            "rank_before": float(np.median(old.rank)),
            "rank_after": float(np.median(new.rank)),
            "first_before": float((old.rank == 1).mean()),
            "first_after": float((new.rank == 1).mean()),
        }
        rows.append(place | {"facts": len(tokens)} | interval_columns(**intervals) | ranks)
    return corrected(pd.DataFrame(rows), ["change", "misread"])


def answer_tokens(recording: Recording, position: str) -> Int[np.ndarray, " facts"]:
    """The first token of each fact's canonical answer.

    Raises:
        InputError: at answer_first, where that token has been read already; a recording
            without prompt_last and answer_first, of which one tells where the answer begins.
    """
    if position == "answer_first":
        raise InputError(
            "at answer_first the answer's first token has been read; use prompt_last"
        )
    if "answer_first" in recording.positions:
        begins = recording.at("answer_first")
    elif "prompt_last" in recording.positions:
        begins = recording.at("prompt_last") + 1
    else:
        raise InputError(
            f"{recording.path} doesn't say where answers begin; record prompt_last, too"
        )
    both = zip(recording.tokens, begins, strict=True)
    return np.array([int(ids[begin]) for ids, begin in both])


def residual_hooks(recording: Recording) -> list[str]:
    """The recorded hooks of the residual stream after a block.

    Raises:
        InputError: there is none.
    """
    found = [hook for hook in recording.hooks if residual_layer(hook) is not None]
    if not found:
        raise InputError(
            f"{recording.path} holds no residual stream; record blocks.*.hook_out"
        )
    return found


def _check_model(model: Model, recording: Recording) -> None:
    if model.digest != recording.attributes["weights"]:
        raise InputError(
            f"{recording.path} was recorded with the weights "
            f"{recording.attributes['weights']}, but {model.name} has {model.digest}; give "
            "the model that was recorded"
        )
