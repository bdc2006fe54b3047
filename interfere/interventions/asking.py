"""Facts asked by teacher forcing, with activations looked at or replaced on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor, nn

from interfere.activations.chat_plan import chat_plan
from interfere.activations.gathering import predict
from interfere.activations.plan import POSITIONS as ONE_TOKEN
from interfere.activations.plan import Plan, make_plan
from interfere.facts.fact import FactSet
from interfere.models import hooks as hooking
from interfere.models.head import body
from interfere.models.model import Model
from interfere.models.patching import Patch, patching
from interfere.models.trie import terminators

POSITIONS = (*ONE_TOKEN, "subject", "all")
"""A recording's, all tokens of the subject, and all tokens of prompt and answer."""

Places = tuple[Int[Tensor, " n"], Int[Tensor, " n"]]
"""Rows of a batch, and a token in each; a row may come more than once."""


@dataclass(frozen=True)
class Scores:
    """How facts are answered; entry i is fact i."""

    logprob: Float64[np.ndarray, " facts"]
    """Nats: the canonical answer and its end."""
    right: Bool[np.ndarray, " facts"]
    """Greedy decoding gives the canonical answer and ends it; as a recording's `right`,
    other accepted names of an answer count as wrong."""


class Questions:
    """Facts as batches of token rows, right-padded; asked zero-shot, the answer appended.

    Args:
        model: whose tokenizer is used.
        facts: the facts.
        batch_facts: of one forward pass.
        chat: through the tokenizer's chat template (`chat_plan`), where subjects have no
            positions.

    Raises:
        InputError: no facts, a prompt without its subject, a batch below 1.
    """

    def __init__(
        self, model: Model, facts: FactSet, batch_facts: int, *, chat: bool = False
    ) -> None:
        self.facts = facts
        self._plan: Plan = (
            chat_plan(model.tokenizer, facts, batch_facts=batch_facts)
            if chat
            else make_plan(
                model.tokenizer,
                facts,
                ONE_TOKEN,
                chunk_facts=max(1, len(facts)),
                batch_facts=batch_facts,
                subjects=True,
            )
        )
        (chunk,) = self._plan.chunks
        self.batches: list[list[int]] = list(self._plan.batches(chunk))
        """Facts of each batch."""

    def ids(self, rows: Sequence[int]) -> Int[Tensor, "b t"]:
        """Prompt, canonical answer and end of each, padded on the right."""
        tokens = [torch.tensor(self._plan.tokens[row]) for row in rows]
        return nn.utils.rnn.pad_sequence(tokens, batch_first=True)

    def places(self, rows: Sequence[int], position: str) -> Places:
        """Where a position of `POSITIONS` is in a batch of these facts.

        Raises:
            InputError: no such position.
        """
        known = POSITIONS if self._plan.subjects is not None else (*self._plan.positions,)
        if position not in known:
            raise hooking.unknown("position", position, known)
        spans = [self._span(row, position) for row in rows]
        owner = [i for i, (first, last) in enumerate(spans) for _ in range(first, last + 1)]
        tokens = [at for first, last in spans for at in range(first, last + 1)]
        return torch.tensor(owner), torch.tensor(tokens)

    def score(self, model: Model, rows: Sequence[int]) -> Scores:
        """One forward pass of these facts, under whatever hooks there are."""
        plan, device = self._plan, model.device
        ids = self.ids(rows).to(device)
        hidden = body(model.network)(input_ids=ids, use_cache=False).last_hidden_state
        answers = [plan.tokens[row][plan.answers_at[row] :] for row in rows]
        fact = np.repeat(np.arange(len(rows)), [len(answer) for answer in answers])
        step = np.concatenate([np.arange(len(answer)) for answer in answers])
        at = plan.answers_at[rows][fact] + step - 1
        wanted = torch.tensor([token for answer in answers for token in answer])
        which, where = (torch.from_numpy(i).to(device) for i in (fact, at))
        logprob, greedy = predict(model.network, hidden[which, where], wanted.to(device))
        said, meant = greedy.cpu().numpy(), wanted.numpy()
        last = step == np.array([len(answer) - 1 for answer in answers])[fact]
        # An answer may end in any terminator, where the canonical target ends in one.
        ends = np.flatnonzero(terminators(model.tokenizer))
        ended = last & np.isin(said, ends) & np.isin(meant, ends)
        wrong = np.bincount(fact, ~((said == meant) | ended))
        return Scores(np.bincount(fact, logprob.double().cpu().numpy()), wrong == 0)

    def _span(self, row: int, position: str) -> tuple[int, int]:
        plan = self._plan
        if position == "all":
            return 0, len(plan.tokens[row]) - 1
        if position == "subject":
            assert plan.subjects is not None
            return int(plan.subjects[row, 0]), int(plan.subjects[row, 1])
        at = int(plan.positions[position][row])
        return at, at


def look(
    model: Model,
    questions: Questions,
    rows: Sequence[int],
    hooks: Sequence[str],
    positions: Sequence[str],
) -> tuple[Scores, dict[tuple[str, str], Tensor]]:
    """One forward pass: scores, and by hook and position the activations at `places`."""
    places = {position: questions.places(rows, position) for position in positions}
    found: dict[tuple[str, str], Tensor] = {}

    def see(name: str, activation: Tensor) -> None:
        for position, (row, token) in places.items():
            found[name, position] = activation[
                row.to(activation.device), token.to(activation.device)
            ]

    body(model.network)  # its own check must not run under hooks
    with hooking.watching(model.network, hooks, see):
        return questions.score(model, rows), found


def ask_patched(
    model: Model, questions: Questions, rows: Sequence[int], patches: Mapping[str, Patch]
) -> Scores:
    """The scores of these facts when the patches are in place."""
    body(model.network)
    with patching(model.network, patches):
        return questions.score(model, rows)
