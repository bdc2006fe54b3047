"""A check of FactRetentionCallback against `generate` on the same facts.

Claim: a check of 1,000 facts takes at most a twentieth of the time in which `generate` answers
them, greedily, in batches of the same size, of rows sorted by length, with as many new tokens
as are customary (`--new-tokens`), and with no more than the longest right answer has. The weights
are disturbed after the start, so that facts are lost and the check asks these a second time. Both
sides ask without examples. On nano `generate` is Python's overhead more than it is work, on SmolLM2
it is work: a check reads question and answer, `generate` reads the question and then so many
tokens more, so where time is work their ratio is near that of the tokens. Sides run by turns.
"""

import os
from typing import Any

import torch
import typer
from sides import alternate, ratio, show
from transformers import TrainerControl, TrainerState, TrainingArguments

from interfere.facts.geonames import geonames
from interfere.facts.questions import question, target
from interfere.interventions.fact_retention import FactRetentionCallback
from interfere.models.load import load_model

CLAIM = 20.0
GENERATE, SHORT, CHECK = "generate", "generate, no more than answers need", "callback"


def main(
    model: str = "smollm2-135m",
    facts: int = 1000,
    new_tokens: int = 32,
    noise: float = 0.3,
    batch_size: int = 64,
    turns: int = 1,
    threads: int = os.cpu_count() or 1,
) -> None:
    """Print times and their ratio; exit with 1 if the claim does not hold."""
    torch.set_num_threads(threads)
    loaded = load_model(model)
    asked = geonames(["P17"], limit=facts)
    callback = FactRetentionCallback(asked, every=1, batch_facts=batch_size)
    state, control = TrainerState(max_steps=10), TrainerControl()
    given: dict[str, Any] = {"model": loaded.network, "processing_class": loaded.tokenizer}
    arguments = TrainingArguments(report_to="none", use_cpu=True)
    callback.on_train_begin(arguments, state, control, **given)
    disturb(loaded.network, noise)
    questions = sorted((question(fact) for fact in asked), key=len)

    def check() -> None:
        state.global_step += 1
        callback.on_step_end(arguments, state, control, **given)

    longest = max(
        len(loaded.tokenizer(target(fact.answer))["input_ids"]) + 1 for fact in asked
    )
    seconds, _ = alternate(
        {
            GENERATE: lambda: answer(loaded, questions, new_tokens, batch_size),
            SHORT: lambda: answer(loaded, questions, longest, batch_size),
            CHECK: check,
        },
        turns,
    )
    show(f"{model}, {new_tokens} new tokens, or {longest}", seconds, facts, "facts")
    first, last = callback.history.iloc[0], callback.history.iloc[-1]
    print(
        f"right at the start {first['stability']:.2f}, at the check {last['stability']:.2f}; "
        f"asked twice {last['dip'] + last['erosion']:.2f}"
    )
    times = ratio(seconds, GENERATE, CHECK)
    print(f"with {longest} new tokens: {ratio(seconds, SHORT, CHECK):.1f} times as fast")
    print(f"{times:.1f} times as fast (claim: at least {CLAIM:.0f})")
    raise typer.Exit(int(times < CLAIM))


def disturb(network: torch.nn.Module, noise: float) -> None:
    """Move every matrix at random, by so large a share of its own norm."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                random = torch.randn(parameter.shape, generator=generator)
                parameter += noise * parameter.std() * random.to(parameter)


def answer(loaded: Any, questions: list[str], new_tokens: int, batch_size: int) -> None:
    """Greedy answers, as an evaluation loop makes them."""
    tokenizer = loaded.tokenizer
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    for start in range(0, len(questions), batch_size):
        batch = tokenizer(
            questions[start : start + batch_size], return_tensors="pt", padding=True
        )
        batch.pop("token_type_ids", None)
        with torch.inference_mode():
            loaded.network.generate(**batch, max_new_tokens=new_tokens, do_sample=False)


if __name__ == "__main__":
    typer.run(main)
