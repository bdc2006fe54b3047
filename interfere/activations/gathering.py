"""Run a chunk of facts and keep what is asked for, copied where it arises."""

from contextlib import AbstractContextManager, nullcontext
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from interfere.activations.layout import Layout
from interfere.activations.offload import Arrived, Offload
from interfere.errors import InputError
from interfere.models import hooks as hooking
from interfere.models.head import body, unembed
from interfere.models.model import Model
from interfere.models.narrow_mlp import mlp_on
from interfere.models.prefix_attention import Prefix, prefix_of
from interfere.models.trie import terminators
from interfere.progress import Advance

SCORED_AT_ONCE = 256
"""Positions unembedded together: bounds memory at large vocabularies."""

LOGPROB, FOLLOWS = "score/logprob", "score/follows"
"""Of each token of an answer: its log-probability; whether greedy decoding gives it."""


class _Enough(Exception):  # noqa: N818 (not an error)
    """Ends a forward pass that has shown all that is kept."""


class Gathering:
    """Runs the batches of one chunk after another and gathers what is kept, in their order.

    What `run` gives lies in memory that the next call uses again: fresh memory for each
    chunk would leave holes that add up to several chunks.
    """

    def __init__(self, model: Model, layout: Layout) -> None:
        self._model, self._layout, self._plan = model, layout, layout.plan
        self._rows = range(0)
        places, most = len(self._plan.positions), len(self._plan.chunks[0])
        self._room = {
            name: torch.empty((places, most, *shape), dtype=model.network.dtype)
            for name, shape in layout.shapes.items()
        }
        self._logprob, self._right = np.empty(most), np.empty(most, np.uint8)
        ends = torch.from_numpy(terminators(model.tokenizer))
        self._ends = ends.nonzero().flatten().to(model.device)
        self._offload = Offload(model.device)

    @torch.inference_mode()
    def run(self, rows: range, advance: Advance) -> dict[str, np.ndarray]:
        """The chunk's rows of every dataset, until the next call."""
        self._rows = rows
        with torch.autocast(self._model.device.type, enabled=False):
            return self._run(advance)

    def _run(self, advance: Advance) -> dict[str, np.ndarray]:
        inner = body(self._model.network)
        self._prefix = self._run_beginning()
        before: list[int] = []
        arrived: Arrived = dict
        for rows in self._plan.batches(self._rows):
            found = self._offload.start(self._batch(inner, rows))
            self._keep(before, arrived())
            before, arrived = rows, found
            advance(len(rows))
        self._keep(before, arrived())
        names = list(self._plan.positions)
        values = {
            f"{hook}/{name}": _numpy(room[place, : len(self._rows)])
            for hook, room in self._room.items()
            for place, name in enumerate(names)
        }
        if not self._layout.scores:
            return values
        size = len(self._rows)
        return values | {
            "score/logprob": self._logprob[:size],
            "score/right": self._right[:size],
        }

    def _run_beginning(self) -> Prefix:
        """What the chunk's prompts begin with, run once where attention can have it apart.

        Not in half precision, where a product of another shape differs in more than its
        last bits, nor where attention itself is looked at.
        """
        network, plan = self._model.network, self._plan
        shared = plan.beginning(self._rows)
        looked_at = any(name.endswith(hooking.MASS) for name in self._room)
        longest = int(plan.upto[self._rows.start : self._rows.stop].max()) - len(shared)
        whole = network.dtype != torch.float32 or looked_at
        prefix = prefix_of(network, [] if whole else shared, longest)
        return prefix if prefix.apart else prefix_of(network, [], longest)

    def _batch(self, inner: PreTrainedModel, rows: list[int]) -> dict[str, Tensor]:
        """What is kept of a batch, on the device: by hook, and the score by token."""
        device, begin = self._model.device, self._prefix.length
        tokens = [
            torch.tensor(self._plan.tokens[row][begin : self._plan.upto[row]])
            for row in rows
        ]
        # Attention is causal and padding comes last: nothing that is kept sees it.
        ids = nn.utils.rnn.pad_sequence(tokens, batch_first=True).to(device)
        places = np.stack([at[rows] for at in self._plan.positions.values()], 1) - begin
        wanted = torch.from_numpy(places).to(device)
        facts = torch.arange(len(rows), device=device)[:, None]
        gathered: dict[str, Tensor] = {}

        def see(name: str, activation: Tensor) -> None:
            gathered[name] = activation[facts, wanted]
            if len(gathered) == len(self._room) and not self._layout.scores:
                raise _Enough

        watching = hooking.watching(
            self._model.network,
            list(self._room),
            see,
            subject=self._subject(rows, ids.shape[1]),
        )
        try:
            with self._narrowed(rows, places, ids.shape[1]), watching:
                hidden = self._forward(inner, ids)
        except _Enough:
            return gathered
        return gathered | (self._score(hidden, ids, rows) if self._layout.scores else {})

    def _narrowed(
        self, rows: list[int], places: np.ndarray, length: int
    ) -> AbstractContextManager[None]:
        """The last block that is looked at, its MLP on the tokens that are kept or scored.

        As with the common beginning, not in half precision.
        """
        network = self._model.network
        if network.dtype != torch.float32:
            return nullcontext()
        mask = np.zeros((len(rows), length), dtype=bool)
        np.put_along_axis(mask, places, values=True, axis=1)
        layer, last = network.config.num_hidden_layers - 1, list(self._room)[-1]
        if self._layout.scores:
            which, target = self._scored(rows)
            mask[which, target - 1] = True
        elif last.startswith("blocks."):
            layer = int(last.split(".")[1])
        wanted = torch.from_numpy(np.flatnonzero(mask)).to(self._model.device)
        return mlp_on(network, layer, wanted)

    def _forward(self, inner: PreTrainedModel, ids: Tensor) -> Tensor:
        prefix = self._prefix
        if not prefix.length:
            return cast(Tensor, inner(input_ids=ids, use_cache=False).last_hidden_state)
        places = prefix.length + torch.arange(ids.shape[1], device=ids.device)
        with prefix.lent():
            output = inner(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                position_ids=places.expand_as(ids),
                use_cache=False,
            )
        return cast(Tensor, output.last_hidden_state)

    def _subject(self, rows: list[int], length: int) -> Tensor | None:
        if self._plan.subjects is None:
            return None
        first, last = self._plan.subjects[rows].T[:, :, None]
        at = np.arange(length)
        return torch.from_numpy((first <= at) & (at <= last)).to(self._model.device)

    def _score(self, hidden: Tensor, ids: Tensor, rows: list[int]) -> dict[str, Tensor]:
        _, step, counts = self._answers(rows)
        which, target = (torch.from_numpy(at).to(ids.device) for at in self._scored(rows))
        wanted = ids[which, target]
        logprob, greedy = predict(self._model.network, hidden[which, target - 1], wanted)
        last = torch.from_numpy(step == np.repeat(counts, counts) - 1).to(ids.device)
        # An answer may end in any terminator, where the canonical target ends in one.
        ended = torch.isin(greedy, self._ends) & torch.isin(wanted, self._ends)
        return {LOGPROB: logprob, FOLLOWS: (greedy == wanted) | (last & ended)}

    def _scored(self, rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Row and place, in the batch, of each token of its answers."""
        fact, step, _ = self._answers(rows)
        return fact, (self._plan.answers_at[rows] - self._prefix.length)[fact] + step

    def _answers(self, rows: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each token of the batch's answers its fact and step; of each fact how many."""
        lengths = np.array([len(self._plan.tokens[row]) for row in rows])
        counts = lengths - self._plan.answers_at[rows]
        fact = np.repeat(np.arange(len(rows)), counts)
        return fact, np.arange(len(fact)) - (np.cumsum(counts) - counts)[fact], counts

    def _keep(self, rows: list[int], found: dict[str, Tensor]) -> None:
        """Put what came to the host into the chunk's order."""
        if not rows:
            return
        own = np.array(rows) - self._rows.start
        for name, room in self._room.items():
            finite = torch.isfinite(found[name]).flatten(1).all(1)
            if not finite.all():
                self._refuse(name, rows[int(finite.long().argmin())])
            room[:, own] = found[name].to(room.dtype).transpose(0, 1)
        if self._layout.scores:
            fact, *_ = self._answers(rows)
            self._logprob[own] = np.bincount(fact, found[LOGPROB].double().numpy())
            self._right[own] = np.bincount(fact, ~found[FOLLOWS].numpy()) == 0

    def _refuse(self, name: str, row: int) -> None:
        fact = self._plan.facts[row]
        raise InputError(
            f"{self._model.name}: {name} is NaN or infinite on row {row} ({fact.subject!r}); "
            f"its weights are damaged, or {self._layout.dtype} is too narrow for it"
        )


def predict(
    network: PreTrainedModel,
    hidden: Float[Tensor, "n d"],
    wanted: Int[Tensor, " n"],
) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """Log-probability of each wanted token, in nats, and the token that greedy gives."""
    logprobs, greedy = [], []
    pieces = zip(
        torch.split(hidden, SCORED_AT_ONCE),
        torch.split(wanted, SCORED_AT_ONCE),
        strict=True,
    )
    for states, tokens in pieces:
        logits = unembed(network, states).float()
        chosen = logits.gather(1, tokens[:, None])[:, 0]
        logprobs.append(chosen - logits.logsumexp(1))
        greedy.append(logits.argmax(1))
    return torch.cat(logprobs), torch.cat(greedy)


def _numpy(values: Tensor) -> np.ndarray:
    return (values.view(torch.uint16) if values.dtype == torch.bfloat16 else values).numpy()
