"""A LoRA adapter as its two factors, read from the files that peft writes."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from interfere.errors import InputError
from interfere.measures.spectra import LowRank
from interfere.models.weight_parts import is_transposed, upright_shape

_FACTOR = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])"
    r"(?:\.weight)?"
)


def read_adapter(folder: str | Path) -> dict[str, LowRank]:
    """Each delta scale · B · A, [out, in], by the name of the weight that it is added to.

    Needs safetensors alone, not peft. scale is lora_alpha / r, or lora_alpha / √r with
    use_rslora (arXiv 2312.03732); rank_pattern and alpha_pattern are heeded. The deltas of
    Conv1D weights are [out, in] too; those of embeddings [vocabulary, d], whose frozen base,
    which peft saves beside them, is passed over.

    Raises:
        InputError: no such files, another kind of adapter (DoRA's delta is not B · A), or
            weights that are stored whole beside the factors.
    """
    place = Path(folder)
    config = _config(place)
    factors: dict[str, dict[str, np.ndarray]] = {}
    for name, value in _tensors(place).items():
        if name.endswith((".embed_tokens.base_layer.weight", ".wte.base_layer.weight")):
            continue  # peft saves a trained embedding's frozen base beside its factors
        found = _FACTOR.fullmatch(name)
        if not found:
            raise InputError(
                f"{place}: {name} is no factor of a plain LoRA adapter; merge it into its "
                "base and compare the weights"
            )
        side = f"{found['embedding'] or ''}{found['side']}"
        factors.setdefault(found["module"], {})[side] = value.double().numpy()
    return {
        f"{module}.weight": _delta(place, module, sides, _scale(config, module, sides))
        for module, sides in factors.items()
    }


def adapted(before: Mapping[str, Tensor], name: str, delta: LowRank) -> Tensor:
    """The stored weight that an adapter's delta is added to.

    Raises:
        InputError: it isn't there, or has another shape.
    """
    if name not in before:
        raise InputError(f"the adapter changes {name}, which the weights before lack")
    shape = upright_shape(name, before[name].shape)
    if shape != delta.shape:
        raise InputError(f"the adapter's {name} is {delta.shape}, but the weight {shape}")
    return before[name]


def merged(
    before: Mapping[str, Tensor], adapter: Mapping[str, LowRank]
) -> dict[str, Tensor]:
    """The weights with an adapter added, in their own dtype; other tensors are shared.

    Raises:
        InputError: as in `adapted`.
    """
    after = dict(before)
    for name, delta in adapter.items():
        base = adapted(before, name, delta)
        change = torch.from_numpy(delta.left @ delta.right)
        stored = change.T if is_transposed(name) else change
        after[name] = (base.double() + stored.to(base.device)).to(base.dtype)
    return after


def _delta(place: Path, module: str, sides: dict[str, np.ndarray], scale: float) -> LowRank:
    if set(sides) == {"A", "B"}:
        left, right = sides["B"], sides["A"]
    elif set(sides) == {"embedding_A", "embedding_B"}:
        left, right = sides["embedding_A"].T, sides["embedding_B"].T
    else:
        raise InputError(f"{place}: {module} has only {sorted(sides)}, not both factors")
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != len(right):
        raise InputError(f"{place}: {module}: B {left.shape} and A {right.shape} don't fit")
    return LowRank(scale * left, right)


def _scale(config: dict[str, Any], module: str, sides: dict[str, np.ndarray]) -> float:
    patterns: dict[str, float] = config.get("alpha_pattern") or {}
    alpha = next(
        (v for key, v in patterns.items() if re.fullmatch(rf"(?:.*\.)?(?:{key})", module)),
        config["lora_alpha"],
    )
    first = sides.get("A", sides.get("embedding_A"))
    rank = config["r"] if first is None else len(first)
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _config(place: Path) -> dict[str, Any]:
    file = place / "adapter_config.json"
    try:
        config: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{file} can't be read: {error}") from error
    if config.get("peft_type") != "LORA" or config.get("use_dora"):
        kind = "DoRA" if config.get("use_dora") else config.get("peft_type")
        raise InputError(
            f"{file}: an adapter of the kind {kind} is not a plain LoRA; merge it into its "
            "base and compare the weights"
        )
    if missing := {"r", "lora_alpha"} - set(config):
        raise InputError(f"{file} lacks {sorted(missing)[0]}")
    return config


def _tensors(place: Path) -> dict[str, Any]:
    file = place / "adapter_model.safetensors"
    try:
        return dict(load_file(file))
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file} can't be read: {error}") from error
