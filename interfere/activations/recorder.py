"""Ask a model a set of facts and keep what it computes where it matters."""

import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
import torch

from interfere.activations import layout as contents
from interfere.activations import store
from interfere.activations.gathering import Gathering
from interfere.activations.layout import FORMAT, STORED, VERSION, Layout
from interfere.activations.parts import part_path
from interfere.activations.plan import POSITIONS, make_plan
from interfere.activations.recording import Recording, open_recording
from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.models import hooks as hooking
from interfere.models.alone import alone
from interfere.models.evaluating import evaluating
from interfere.models.hook_check import check_hooks
from interfere.models.model import Model
from interfere.progress import progress

HOOKS = "blocks.*.hook_out"
CHUNK_FACTS, BATCH_FACTS = 1024, 64


class Options(TypedDict, total=False):
    """What `record` and `record_part` are given alike; `record` says what it means."""

    hooks: str | Sequence[str]
    positions: Sequence[str]
    scores: bool
    chunk_facts: int
    batch_facts: int


def record(
    model: Model,
    facts: FactSet,
    file: str | Path,
    *,
    hooks: str | Sequence[str] = HOOKS,
    positions: Sequence[str] = POSITIONS,
    resume: bool = False,
    scores: bool = True,
    chunk_facts: int = CHUNK_FACTS,
    batch_facts: int = BATCH_FACTS,
) -> Recording:
    """Record activations and the canonical answer's score from one forward pass a fact.

    Facts are asked zero-shot with the canonical answer and its end appended; what comes
    later does not change what is recorded before it. A finished recording of the same
    weights, facts, hooks, positions and batches at `file` is given back as it is.

    Args:
        model: in evaluation mode while it is recorded, then as it was.
        facts: row i of every dataset is fact i.
        file: HDF5; holds its finished chunks whatever happens.
        hooks: names or glob patterns, as in `interfere.models.hooks.hook_names`.
        positions: any of subject_last, prompt_last, answer_first.
        resume: go on with an unfinished file; bit for bit what one run gives.
        scores: keep the canonical answer's log-probability and whether greedy decoding
            gives it; without, nothing goes through the unembedding.
        chunk_facts: facts written together; memory is bounded by them.
        batch_facts: facts in one forward pass.

    Raises:
        InputError: an unknown hook or position, an unsupported architecture, a prompt
            longer than the model reads, a file that is something else or not finished, a
            disk that is too small, full or not writable.
    """
    path = Path(file)
    layout = _layout(
        model,
        facts,
        hooks=hooks,
        positions=positions,
        scores=scores,
        chunk_facts=chunk_facts,
        batch_facts=batch_facts,
    )
    if finished := store.find(path, layout, resume=True):
        return finished
    with store.writing(path, layout, resume=resume) as writer:
        _fill(model, layout, writer, writer.todo)
        writer.complete()
    return open_recording(path)


def record_part(
    model: Model,
    facts: FactSet,
    file: str | Path,
    *,
    rank: int,
    ranks: int,
    resume: bool = False,
    **options: Unpack[Options],
) -> Path:
    """Record one process's share: the chunks whose number leaves `rank` when divided.

    Written beside `file` under the name of `parts.part_path`; `parts.join` makes one file
    of all parts, equal to what `record` gives. Arguments and errors as in `record`.

    Raises:
        InputError: a rank that is not below `ranks`, or as in `record`.
    """
    if not 0 <= rank < ranks:
        raise InputError(f"rank must be from 0 to {ranks - 1}, got {rank}")
    path = part_path(Path(file), rank, ranks)
    layout = _layout(model, facts, **options)
    store.find(path, layout, resume=True)
    if path.exists() and not any(c % ranks == rank for c in store.unfinished(path)):
        return path
    with store.writing(path, layout, resume=resume) as writer:
        own = [chunk for chunk in writer.todo if chunk % ranks == rank]
        _fill(model, layout, writer, own)
    return path


def _fill(model: Model, layout: Layout, writer: store.Writer, chunks: list[int]) -> None:
    """Record chunks; one is written while the next one runs."""
    plan = layout.plan
    left = sum(len(plan.chunks[chunk]) for chunk in chunks)
    with (
        alone(model.network),
        evaluating(model.network),
        progress("recording", left) as advance,
        ThreadPoolExecutor(1) as writing,
    ):
        written: Future[None] | None = None
        turns = cycle([Gathering(model, layout), Gathering(model, layout)])
        for chunk, gathering in zip(chunks, turns, strict=False):
            values = gathering.run(plan.chunks[chunk], advance)
            if written is not None:
                written.result()
            written = writing.submit(writer.write, chunk, values)
        if written is not None:
            written.result()


def _layout(
    model: Model,
    facts: FactSet,
    *,
    hooks: str | Sequence[str] = HOOKS,
    positions: Sequence[str] = POSITIONS,
    scores: bool = True,
    chunk_facts: int = CHUNK_FACTS,
    batch_facts: int = BATCH_FACTS,
) -> Layout:
    network = model.network
    names = hooking.resolve(network, hooks)
    plan = make_plan(
        model.tokenizer,
        facts,
        positions,
        chunk_facts=chunk_facts,
        batch_facts=batch_facts,
        subjects=any(name.endswith(hooking.MASS) for name in names),
        scores=scores,
    )
    dtype = str(network.dtype).removeprefix("torch.")
    if dtype not in STORED:
        raise InputError(
            f"{model.name} computes in {dtype}; load it in {', '.join(STORED)}"
        )
    if model.device.type == "meta":
        raise InputError(f"{model.name} has no weights: it lies on the device 'meta'")
    longest = int(np.argmax(plan.upto))
    limit = getattr(network.config, "max_position_embeddings", None)
    if limit is not None and plan.upto[longest] > limit:
        raise InputError(
            f"{plan.facts.source}: row {longest} ({plan.facts[longest].subject!r}) takes "
            f"{plan.upto[longest]} tokens, {model.name} reads {limit}; leave it out"
        )
    check_hooks(model)
    shapes = {name: hooking.shape(network, name) for name in names}
    layout = Layout(plan, shapes, dtype, scores)
    if not scores:  # left out where they are kept, as in older files
        layout.attributes["scores"] = np.uint8(0)
    layout.attributes.update(
        format=FORMAT,
        version=VERSION,
        model=model.name,
        weights=model.digest,
        tokenizer=model.tokenizer_digest,
        facts=plan.facts.digest,
        libraries=contents.libraries(),
        dtype=dtype,
        batch_plan=plan.rule,
        threads=torch.get_num_threads(),
        device=_device(model.device),
        attention=str(network.config._attn_implementation),
        precision=torch.get_float32_matmul_precision(),
        hooks=json.dumps(names),
        positions=json.dumps(list(plan.positions)),
        static_checksum=contents.static_checksum(layout),
    )
    return layout


def _device(device: torch.device) -> str:
    """What makes last bits: a GPU's name, else the kind of device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
