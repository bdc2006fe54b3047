"""When a response is right: SQuAD normalisation, and the ways an answer is written."""

import re
import string

from interfere.facts.fact import Fact

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_LEADING_ARTICLE = re.compile(r"(?:a|an|the)\s+", re.IGNORECASE)


def normalise(text: str) -> str:
    """Lower case, no ASCII punctuation, no articles (a, an, the), single spaces.

    Source: the evaluation script of SQuAD 1.1 (arXiv 1606.05250).
    """
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def is_right(response: str, fact: Fact) -> bool:
    """Whether the response is the answer or an alias, both normalised."""
    said = normalise(response)
    return bool(said) and any(said == normalise(answer) for answer in fact.answers)


def surface_forms(fact: Fact) -> tuple[str, ...]:
    """Ways to write a right answer, each once, the canonical answer first.

    Of each answer: as it is, without its article, in lower case, with a capital first
    letter, after "the" and "The". Every form is right by `is_right`; not every right
    response is a form.
    """
    forms: dict[str, None] = {fact.answer: None}
    for answer in fact.answers:
        for form in _variants(answer):
            if is_right(form, fact):
                forms[form] = None
    return tuple(forms)


def _variants(answer: str) -> tuple[str, ...]:
    bare = _LEADING_ARTICLE.sub("", answer, count=1) if _has_article(answer) else answer
    capital = bare[:1].upper() + bare[1:]
    return (
        answer,
        bare,
        capital,
        f"the {bare}",
        f"The {bare}",
        bare.lower(),
        answer.lower(),
    )


def _has_article(answer: str) -> bool:
    return _LEADING_ARTICLE.match(answer) is not None
