import copy

import pytest
import torch
from tiny_models import CONFIGS, tiny_model

from interfere.models.prefix_attention import prefix_of
from interfere.models.shared_prefix import lend

SDPA = [name for name in CONFIGS if name not in ("gemma2", "mistral")]
TOKENS = torch.arange(20, 32)


def after_prefix(model, prefix, rows):
    """Last hidden states of rows that stand after a prefix."""
    inner, width = model.network.base_model, rows.shape[1]
    with prefix.lent():
        return inner(
            input_ids=rows,
            attention_mask=torch.ones(len(rows), prefix.cached + width, dtype=torch.long),
            position_ids=(prefix.length + torch.arange(width)).expand(len(rows), -1),
            use_cache=True,
            **lend(inner, prefix.before(len(rows))),
        ).last_hidden_state


@pytest.mark.parametrize("architecture", CONFIGS)
@torch.inference_mode()
def test_a_row_comes_out_as_in_one_piece(architecture):
    model = tiny_model(architecture)
    prefix = prefix_of(model.network, TOKENS[:7].tolist(), 5)
    whole = model.network.base_model(input_ids=TOKENS[None]).last_hidden_state[:, 7:]
    found = after_prefix(model, prefix, TOKENS[7:].repeat(3, 1))
    torch.testing.assert_close(found, whole.repeat(3, 1, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", SDPA)
def test_the_prefix_is_not_copied_where_attention_is_pytorchs(architecture):
    with torch.inference_mode():
        prefix = prefix_of(tiny_model(architecture).network, TOKENS[:7].tolist(), 5)
    assert prefix.apart
    assert prefix.cached == 0
    assert prefix.before(5).get_seq_length() == 0


@pytest.mark.parametrize("longest", [9, 8])
def test_a_window_that_ends_within_the_row_needs_the_copy(longest):
    model = tiny_model("mistral")  # a window of 16
    with torch.inference_mode():
        prefix = prefix_of(model.network, TOKENS[:7].tolist(), longest)
    assert prefix.apart == (longest == 8)


@torch.inference_mode()
def test_the_network_keeps_its_attention():
    network = copy.deepcopy(tiny_model().network)
    prefix = prefix_of(network, TOKENS[:7].tolist(), 5)
    with pytest.raises(RuntimeError, match="stop"), prefix.lent():
        assert network.config._attn_implementation != "sdpa"
        raise RuntimeError("stop")
    assert network.config._attn_implementation == "sdpa"


@torch.inference_mode()
def test_no_prefix_is_no_change():
    model = tiny_model()
    prefix = prefix_of(model.network, [], 12)
    whole = model.network.base_model(input_ids=TOKENS[None]).last_hidden_state
    torch.testing.assert_close(after_prefix(model, prefix, TOKENS[None]), whole)
