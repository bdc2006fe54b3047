"""What the model says by itself: greedy responses, and samples as SLiCK first took them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor
from transformers import GenerationConfig

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.facts.questions import prompt
from interfere.models.batches import batches_by_length, padded_on_the_left
from interfere.models.encoding import encode_prompts
from interfere.models.evaluating import evaluating
from interfere.models.model import Model
from interfere.models.trie import line_ends
from interfere.progress import progress


def generate(
    model: Model,
    facts: FactSet,
    *,
    prefix: str = "",
    paraphrase: bool = False,
    max_new_tokens: int = 16,
    batch_tokens: int = 2048,
) -> list[str]:
    """Greedy responses up to the line's end, stripped, in the facts' order.

    Args:
        model: left as it was, in training mode or not.
        facts: what is asked.
        prefix: answered questions to stand before each.
        paraphrase: ask in the relation's second wording.
        max_new_tokens: where a response without a line's end is cut.
        batch_tokens: padded tokens of prompts in a batch.

    Raises:
        InputError: a fact without a question.
    """
    config = _config(model, max_new_tokens)
    rows = _prompts(model, facts, prefix, paraphrase)
    return [text for _, (text,) in _continue(model, rows, config, batch_tokens)]


@dataclass(frozen=True)
class Response:
    """What a model says to a prompt by greedy generation."""

    prompt: list[int]
    """Token ids."""
    answer: list[int]
    """Token ids up to the line's end, with it; without one where it was cut."""
    text: str
    """As `generate` gives it."""


def respond(
    model: Model,
    facts: FactSet,
    *,
    prefix: str = "",
    paraphrase: bool = False,
    max_new_tokens: int = 16,
    batch_tokens: int = 2048,
) -> list[Response]:
    """As `generate`, with the tokens: what is said and how it was put."""
    config = _config(model, max_new_tokens)
    rows = _prompts(model, facts, prefix, paraphrase)
    ends = line_ends(model.tokenizer)
    found = []
    continued = _continue(model, rows, config, batch_tokens)
    for row, (tokens, (text,)) in zip(rows, continued, strict=True):
        said = tokens[0].tolist()
        stop = next((place for place, token in enumerate(said) if ends[token]), len(said))
        found.append(Response(row, said[: stop + 1], text))
    return found


def sample(
    model: Model,
    facts: FactSet,
    *,
    prefix: str = "",
    samples: int = 16,
    temperature: float = 0.5,
    top_k: int = 40,
    seed: int = 0,
    max_new_tokens: int = 16,
    batch_tokens: int = 2048,
) -> list[list[str]]:
    """`samples` sampled responses to each fact, as `generate` cuts them.

    Deterministic by seed for one list of facts; torch's own generator is left as it was.

    Raises:
        InputError: a fact without a question, or settings out of range.
    """
    if samples < 1 or temperature <= 0 or top_k < 1:
        raise InputError(
            "samples and top_k must be at least 1 and temperature above 0, got "
            f"{samples}, {top_k} and {temperature}"
        )
    config = _config(
        model,
        max_new_tokens,
        do_sample=True,
        temperature=temperature,
        top_k=top_k,
        num_return_sequences=samples,
    )
    rows = _prompts(model, facts, prefix)
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        continued = _continue(model, rows, config, batch_tokens)
    return [texts for _, texts in continued]


def _config(
    model: Model, max_new_tokens: int, **sampling: float | bool
) -> GenerationConfig:
    ends = line_ends(model.tokenizer).nonzero()[0].tolist()
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=ends,
        pad_token_id=_pad(model),
        **{"do_sample": False, "repetition_penalty": 1.0, "top_p": 1.0, **sampling},
    )


def _pad(model: Model) -> int:
    tokenizer = model.tokenizer
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0


def _prompts(
    model: Model, facts: FactSet, prefix: str, paraphrase: bool = False
) -> list[list[int]]:
    texts = [prefix + prompt(fact, paraphrase=paraphrase) for fact in facts]
    return encode_prompts(model.tokenizer, texts)


def _continue(
    model: Model, rows: list[list[int]], config: GenerationConfig, batch_tokens: int
) -> list[tuple[Tensor, list[str]]]:
    """By row: new tokens, a line a sample, padded behind the end; and what they say."""
    copies = config.num_return_sequences or 1
    said: list[Tensor] = [torch.empty(0)] * len(rows)
    lengths = [len(row) for row in rows]
    with evaluating(model.network), progress("generating", len(rows)) as advance:
        for batch in batches_by_length(lengths, batch_tokens // copies):
            tokens = _run(model, [rows[i] for i in batch], config)
            for place, i in enumerate(batch):
                said[i] = tokens[place * copies : (place + 1) * copies].cpu()
            advance(len(batch))
    decode = partial(model.tokenizer.batch_decode, skip_special_tokens=True)
    return [(tokens, [_cut(text) for text in decode(tokens)]) for tokens in said]


def _run(model: Model, rows: list[list[int]], config: GenerationConfig) -> Tensor:
    """New tokens only; padding stands on the left, where generation needs it."""
    ids, real = padded_on_the_left(rows, config.pad_token_id)
    run = cast(Callable[..., Tensor], model.network.generate)
    with torch.inference_mode():
        whole = run(
            input_ids=ids.to(model.device),
            attention_mask=real.to(model.device),
            generation_config=config,
        )
    return whole[:, ids.shape[1] :]


def _cut(text: str) -> str:
    return text.split("\n", 1)[0].strip()
