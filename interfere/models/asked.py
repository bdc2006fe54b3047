"""Facts as token rows: what is asked, and what counts as right."""

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from interfere.errors import InputError
from interfere.facts.fact import FactSet
from interfere.facts.matching import surface_forms
from interfere.facts.questions import prompt
from interfere.models.encoding import encode_prompts, start_tokens
from interfere.models.trie import Trie, build_tries


@dataclass(frozen=True)
class Asked:
    """Facts tokenised once, to be asked after any number of prefixes."""

    prompts: list[str]
    tokens: list[list[int]]
    """Of each prompt, without the tokenizer's start token."""
    tries: list[Trie]
    """A fact's accepted answers; facts with the same answers share one object."""

    def after(
        self, tokenizer: PreTrainedTokenizerBase, prefix: str, *, share: bool = True
    ) -> tuple[list[int], list[list[int]]]:
        """Tokens common to all rows, and what each row adds to them.

        Where the tokenizer would merge across the border between prefix and prompt, and
        where `share` is false, the prefix is part of every row.
        """
        start = start_tokens(tokenizer)
        if not prefix or not self.prompts:
            return (
                (start, self.tokens)
                if share
                else ([], [start + row for row in self.tokens])
            )
        encode = tokenizer([prefix, prefix + self.prompts[0]], add_special_tokens=False)
        head, whole = encode.input_ids
        if whole != head + self.tokens[0]:
            rows = encode_prompts(tokenizer, [prefix + text for text in self.prompts])
            return [], rows
        head = start + head
        return (head, self.tokens) if share else ([], [head + row for row in self.tokens])


def as_asked(
    tokenizer: PreTrainedTokenizerBase, facts: FactSet, *, paraphrase: bool = False
) -> Asked:
    """Tokenise questions and accepted answers.

    Raises:
        InputError: a fact without a question, or whose answer tokenises to nothing.
    """
    prompts = [prompt(fact, paraphrase=paraphrase) for fact in facts]
    if not prompts:
        return Asked([], [], [])
    tokens = tokenizer(prompts, add_special_tokens=False).input_ids
    holders = {fact.answers: fact for fact in facts}
    forms = {answers: surface_forms(fact) for answers, fact in holders.items()}
    for answers, fact in holders.items():
        if not answers[0].strip():
            raise InputError(
                f"{facts.source}: the answer {answers[0]!r} to {fact.relation} of "
                f"{fact.subject!r} tokenises to nothing; give it a visible answer"
            )
    tail = prompts[0][prompts[0].rfind("\n") :]
    tries = dict(
        zip(forms, build_tries(tokenizer, tail, list(forms.values())), strict=True)
    )
    return Asked(prompts, tokens, [tries[fact.answers] for fact in facts])
