"""How a fact is asked: question templates, prompts, few-shot prefixes, targets."""

from collections.abc import Iterable

from interfere.errors import InputError
from interfere.facts.fact import Fact

TEMPLATES = {
    "P17": "Which country is [X] located in?",
    "P36": "What is the capital of [X]?",
    "P30": "Which continent is [X] located in?",
    "P38": "What is the currency of [X]?",
    "P421": "Which time zone is [X] located in?",
    "P131": "Where is [X] located?",
    "P495": "Which country was [X] created in?",
    "P19": "Where was [X] born?",
    "P20": "Where did [X] die?",
    "P69": "Where was [X] educated?",
    "P740": "Where was [X] founded?",
    "P26": "Who is [X] married to?",
    "P40": "Who is [X]'s child?",
    "P50": "Who is the author of [X]?",
    "P106": "What kind of work does [X] do?",
    "P112": "Who founded [X]?",
    "P127": "Who owns [X]?",
    "P136": "What type of music does [X] play?",
    "P159": "Where is the headquarter of [X]?",
    "P170": "Who was [X] created by?",
    "P175": "Who performed [X]?",
    "P176": "Which company is [X] produced by?",
    "P264": "What music label is [X] represented by?",
    "P276": "Where is [X] located?",
    "P407": "Which language was [X] written in?",
    "P413": "What position does [X] play?",
    "P800": "What is [X] famous for?",
}
"""By Wikidata property; [X] is the subject. Wording: EntityQuestions (2021)."""

PARAPHRASES = {
    "P17": "In which country would you find [X]?",
    "P36": "Which city is the capital of [X]?",
    "P30": "On which continent does [X] lie?",
    "P38": "Which currency is used in [X]?",
    "P421": "What is the time zone of [X]?",
}
"""A second wording, never trained on: tells a learnt fact from a learnt string."""


def question(fact: Fact, *, paraphrase: bool = False) -> str:
    """The fact's question in words.

    Raises:
        InputError: neither the fact nor its relation has such a question.
    """
    if fact.question is not None and not paraphrase:
        return fact.question
    templates = PARAPHRASES if paraphrase else TEMPLATES
    if fact.relation not in templates:
        raise InputError(
            f"relation {fact.relation!r} has no "
            f"{'paraphrase' if paraphrase else 'question'} template; "
            "give the facts a column with their questions"
        )
    return templates[fact.relation].replace("[X]", fact.subject)


def prompt(fact: Fact, *, paraphrase: bool = False) -> str:
    """`Q: …\\nA:`, as training, evaluation and recording ask it."""
    return f"Q: {question(fact, paraphrase=paraphrase)}\nA:"


def target(answer: str) -> str:
    """What follows the prompt: a space, the answer, and its end."""
    return f" {answer}\n"


def few_shot_prefix(exemplars: Iterable[Fact]) -> str:
    """Answered questions to stand before a prompt, each ending in a newline."""
    return "".join(prompt(fact) + target(fact.answer) for fact in exemplars)
