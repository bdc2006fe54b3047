"""Adapters alone are trained; merged they are the adapter; off they are the start."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import places, tiny_model
from transformers import TrainingArguments

from interfere.errors import InputError
from interfere.training.lora import LoRA, adapters, merge_adapters
from interfere.training.rows import FactRows, collate
from interfere.training.self_distillation import SelfDistillation
from interfere.training.targeted_distillation import TargetedDistillation
from interfere.training.train import train
from interfere.training.trainer import InterferenceTrainer

IDS = torch.tensor([[1, 5, 9, 30]])


def adapted(architecture="llama", **settings):
    network = tiny_model(architecture).copy().network
    LoRA(rank=4, **settings).change(network)
    return network


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "neox"])
def test_merged_is_the_adapter(architecture):
    network = adapted(architecture).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_" in name:
                parameter.normal_(generator=torch.manual_seed(0)).mul_(0.1)
        with_adapter = network(IDS).logits
        merge_adapters(network)
        merged = network(IDS).logits
        plain = tiny_model(architecture).network(IDS).logits
    assert torch.allclose(merged, with_adapter, atol=1e-5)
    assert not torch.allclose(merged, plain, atol=1e-3)
    assert (
        network.state_dict().keys() == tiny_model(architecture).network.state_dict().keys()
    )


def test_only_adapters_are_trained_and_merged_in_the_end(model, split):
    tuned = train(model, split, mitigation=LoRA(rank=2, targets="attention"), steps=5)
    for name, after in tuned.network.named_parameters():
        same = after.equal(model.network.get_parameter(name))
        assert same != ("self_attn" in name and "proj" in name), name
        if not same:
            delta = after - model.network.get_parameter(name)
            assert torch.linalg.matrix_rank(delta, rtol=1e-3) <= 2
    assert not adapters(tuned.network)
    assert all(p.requires_grad for p in tuned.network.parameters())


@pytest.mark.parametrize(
    ("targets", "layers"),
    [("attention", 12), ("ffn", 9), ("all", 21), (["q_proj"], 3), (["1.mlp.up_proj"], 1)],
)
def test_targets(targets, layers):
    assert len(adapters(adapted(targets=targets))) == layers


def test_adapter_off_is_the_start_as_a_teacher(model, split):
    both = [LoRA(rank=4), SelfDistillation(teacher="adapter-off", cached=False)]
    copied = [LoRA(rank=4), SelfDistillation(cached=False)]
    one, other = (
        train(model, split, mitigation=m, epochs=4, batch_size=6) for m in (both, copied)
    )
    pairs = zip(one.network.parameters(), other.network.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def test_adapter_off_without_adapters_is_refused(model, split):
    with pytest.raises(InputError, match=r"combine it with LoRA\(\)"):
        train(model, split, mitigation=SelfDistillation(teacher="adapter-off"), steps=1)


def test_what_peft_has_wrapped_is_distilled_too(tmp_path):
    """Held to itself without adapters, or to a copy of its start: the same weights."""
    ends = []
    settings = {"teacher": "adapter-off"}, {"teacher": "start"}
    ways = [SelfDistillation(**one, strength=2.0) for one in settings]
    # This one makes batches of its own, of a model whose signature is peft's.
    ways.append(TargetedDistillation("harm", facts=places()[32:]))
    for mitigation in ways:
        model = tiny_model().copy()
        torch.manual_seed(0)
        wrapped = get_peft_model(model.network, LoraConfig(r=4, target_modules=["q_proj"]))
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=8,
            learning_rate=3e-3,
            max_steps=4,
            use_cpu=True,
            report_to="none",
            save_strategy="steps",
            save_steps=4,
            disable_tqdm=True,
        )
        trainer = InterferenceTrainer(
            wrapped,
            arguments,
            mitigation=mitigation,
            tokenizer=model.tokenizer,
            train_dataset=FactRows(places()[:32], model.tokenizer),
            data_collator=collate,
        )
        trainer.train()
        ends.append({n: p.detach() for n, p in wrapped.named_parameters() if "lora_" in n})
        assert (tmp_path / "checkpoint-4" / "adapter_model.safetensors").is_file()
    assert all(
        torch.allclose(ends[0][name], value, atol=1e-6) for name, value in ends[1].items()
    )
    assert any(value.abs().max() > 0 for name, value in ends[0].items() if "lora_B" in name)


def test_adapters_already_there_are_refused():
    network = get_peft_model(
        tiny_model().copy().network, LoraConfig(target_modules=["q_proj"])
    )
    with pytest.raises(InputError, match="has LoRA adapters already"):
        LoRA().change(network.base_model.model)


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank must be 1 or more, got 0"),
        ({"alpha": 0}, "alpha must be above 0"),
        ({"dropout": 1.0}, "dropout must be 0 or more and below 1"),
        ({"targets": "heads"}, "'attention', 'ffn', 'all' or a list"),
        ({"targets": ["nothing"]}, "no linear layer of LlamaForCausalLM"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        LoRA(**settings).change(tiny_model().copy().network)
