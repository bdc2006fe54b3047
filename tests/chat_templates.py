"""Chat templates for tokenizers that have none."""

import copy

from transformers import PreTrainedTokenizerBase

TURNS = (
    "{% for message in messages %}{{ message['role'] + ':\\n' + message['content'] }}"
    "{{ eos_token + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:\\n' }}{% endif %}"
)
"""Role, content, end of turn, newline."""

FORGETFUL = (
    "{% for message in messages %}{% if message['role'] != 'assistant' or loop.last %}"
    "{{ message['role'] + ':\\n' + message['content'] + eos_token + '\\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:\\n' }}{% endif %}"
)
"""Leaves out all that the assistant said but the last, as templates do with thoughts."""


def with_template(
    tokenizer: PreTrainedTokenizerBase, template: str = TURNS
) -> PreTrainedTokenizerBase:
    """A copy that has it."""
    twin = copy.deepcopy(tokenizer)
    twin.chat_template = template
    return twin
