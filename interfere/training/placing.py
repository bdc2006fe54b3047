"""Where Trainer puts a model, before mitigations look at it."""

import os

from torch import nn
from transformers import PreTrainedModel, TrainingArguments

from interfere.errors import InputError


def plain_network(model: nn.Module) -> PreTrainedModel:
    """The network itself, adapters in it, where peft has wrapped it.

    Raises:
        InputError: it is no transformers model.
    """
    from peft import PeftModel

    network = model.get_base_model() if isinstance(model, PeftModel) else model
    if not isinstance(network, PreTrainedModel):
        raise InputError(
            f"{type(network).__name__} is no transformers PreTrainedModel, nor peft's of one"
        )
    return network


def place(network: PreTrainedModel, args: TrainingArguments) -> None:
    """Move the network to the training's device, if Trainer will.

    What mitigations copy of it (anchors, a Fisher, a teacher) is there then too. Sharded and
    dispatched models are moved later, by whoever shards them.
    """
    later = (
        args.fsdp
        or args.deepspeed
        or args.fp16_full_eval
        or args.bf16_full_eval
        or os.environ.get("ACCELERATE_USE_FSDP") == "true"
        or os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true"
        or getattr(network, "hf_device_map", None)
        or getattr(network, "quantization_method", None)
        or getattr(network, "is_distributed_loading_by_transformers", False)
    )
    if not later and args.place_model_on_device is not False:
        network.to(args.device)  # type: ignore[arg-type]
