"""What the embedding layer alone says of a fact: the baseline of a probe."""

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from interfere.activations.recording import Recording
from interfere.errors import InputError
from interfere.models.model import Model


def embedding_rows(
    model: Model, recording: Recording, position: str = "subject_last"
) -> Float32[np.ndarray, "facts d"]:
    """The token embedding at a position of each recorded fact.

    No block has run, so that a probe on it knows one token and nothing else. Learned
    position embeddings (GPT-2) are left out. At `prompt_last` all facts of a template have
    the same token: take the subject's there too.

    Raises:
        InputError: a recording made with another tokenizer, or without the position.
    """
    if recording.attributes["tokenizer"] != model.tokenizer_digest:
        raise InputError(
            f"{recording.path} was recorded with another tokenizer than that of "
            f"{model.name}; give the model that it was recorded from"
        )
    at = recording.at(position)
    ids = [int(tokens[place]) for tokens, place in zip(recording.tokens, at, strict=True)]
    table = model.network.get_input_embeddings().weight
    assert isinstance(table, Tensor)
    with torch.no_grad():
        return table[torch.tensor(ids, device=table.device)].float().cpu().numpy()
