"""How well nano knows what it was told, and how well SLiCK finds it out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from interfere import cache
from interfere.facts.fact import FactSet
from interfere.facts.geonames import geonames
from interfere.knowledge.slick import categorise
from interfere.models.load import load_model


def measure_nano(folder: Path) -> pd.DataFrame:
    """SLiCK against the ground truth in a nano folder, and names' leak of their country.

    Columns: relation, exposure, facts, highly_known, greedy (share right over the prompts),
    strictly_unknown; `name_classifier`: share of P17 facts never seen that character
    n-grams of the name alone give right; `slick_precision` and `slick_recall` of
    HighlyKnown against "seen". Writes ground_truth.json beside the weights as well.
    """
    truth = pd.read_csv(folder / "exposure.csv", keep_default_na=False)
    relations = list(dict.fromkeys(truth["relation"]))
    facts = geonames(relations).select(truth["id"])
    exposure = dict(zip(truth["id"], truth["exposure"], strict=True))
    model = replace(load_model(str(folder)), name="nano")
    taught = [fact for fact in facts if exposure[fact.id] == "questions"]
    rows = []
    for relation in relations:
        asked = replace(facts, facts=tuple(f for f in facts if f.relation == relation))
        # Exemplars are chosen among the facts that taught the format, as studies choose.
        pool = replace(facts, facts=tuple(f for f in taught if f.relation == relation))
        found = _categories(model, asked, pool).assign(relation=relation)
        found["exposure"] = found["id"].map(exposure)
        found["named"] = _classified(asked, exposure) if relation == "P17" else np.nan
        rows.append(found)
    table = pd.concat(rows)
    table = table[table["category"] != "exemplar"]
    seen, known = table["exposure"] != "never", table["category"] == "HighlyKnown"
    by = table.assign(known=known, strictly=table["strict"].astype(bool))
    groups = by.groupby(["relation", "exposure"], sort=False)
    summary = groups.agg(
        facts=("id", "size"),
        highly_known=("known", "mean"),
        greedy=("greedy", "mean"),
        strictly_unknown=("strictly", "mean"),
        name_classifier=("named", "mean"),
    ).reset_index()
    both = float((seen & known).sum())
    numbers = {"slick_precision": both / known.sum(), "slick_recall": both / seen.sum()}
    card = {
        "by_relation": summary.astype(object)
        .where(summary.notna(), None)
        .to_dict("records"),
        **numbers,
    }
    with cache.whole_file(folder / "ground_truth.json") as draft:
        draft.write_text(json.dumps(card, indent=2) + "\n")
    return summary.assign(**numbers)


def _categories(model, asked: FactSet, pool: FactSet) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    return categorise(model, asked, exemplars=pool).table


def _classified(facts: FactSet, exposure: dict[str, str]) -> np.ndarray:
    """Whether a classifier of character n-grams, trained on what was seen, is right."""
    names = np.array([fact.subject for fact in facts])
    answers = np.array([fact.answer for fact in facts])
    seen = np.array([exposure[fact.id] != "never" for fact in facts])
    model = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True),
        LinearSVC(C=0.5),
    )
    model.fit(names[seen], answers[seen])
    right = (model.predict(names) == answers).astype(float)
    right[seen] = np.nan  # what it was trained on says nothing
    return right
