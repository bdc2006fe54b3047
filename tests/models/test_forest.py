"""Guinea and Guinea-Bissau, with logits made by hand."""

import numpy as np
import pytest
import torch

from interfere.models.forest import Forest
from interfere.models.trie import trie_of

GUINEA, BISSAU, GABON, NEWLINE, BLANK_LINE = range(5)
ENDS = np.array([False, False, False, True, True])


def trie(*paths):
    return trie_of(set(paths), set(), (*paths[0], NEWLINE))


def logits(*probabilities):
    return torch.tensor([probabilities]).log()


def forest(*tries, temperature=1.0, top_k=5):
    return Forest(tries, ENDS, temperature=temperature, top_k=top_k)


def test_a_prefix_of_another_answer_counts_only_with_its_end():
    says_bissau = [logits(0.9, 0.02, 0.04, 0.02, 0.02), logits(0.01, 0.6, 0.09, 0.2, 0.1)]
    right = {}
    for name, form in {"Guinea": (GUINEA,), "Guinea-Bissau": (GUINEA, BISSAU)}.items():
        batch = forest(trie(form))
        for node, row in enumerate(says_bissau):
            batch.read(np.array([node]), row)
        if len(form) == 2:
            batch.read(np.array([2]), logits(0.1, 0.1, 0.1, 0.4, 0.3))
        right[name] = batch.results()
    assert right["Guinea"][0].tolist() == [False]
    assert right["Guinea"][1] == pytest.approx(0.9 * (0.2 + 0.1))
    assert right["Guinea-Bissau"][0].tolist() == [True]
    assert right["Guinea-Bissau"][1] == pytest.approx(0.9 * 0.6 * (0.4 + 0.3))


def test_probability_sums_over_forms_after_temperature_and_top_k():
    batch = forest(trie((GUINEA,), (GABON,)), temperature=0.5, top_k=3)
    batch.read(np.array([0]), logits(0.5, 0.3, 0.15, 0.04, 0.01))
    batch.read(
        np.array([1, 2]),
        torch.cat([logits(0.1, 0.1, 0.1, 0.5, 0.2), logits(0.3, 0.28, 0.22, 0.1, 0.1)]),
    )
    start = 0.5**2 + 0.3**2 + 0.15**2
    after_guinea = (0.5**2 + 0.2**2) / (0.5**2 + 0.2**2 + 0.1**2)
    right, chance = batch.results()
    # after Gabon no terminator is among the three kept
    assert chance == pytest.approx([0.5**2 / start * after_guinea])
    assert right.tolist() == [True]


def test_a_form_outside_the_top_k_needs_no_forward():
    batch = forest(trie((GUINEA, BISSAU), (GABON,)), top_k=1)
    batch.read(np.array([0]), logits(0.6, 0.1, 0.2, 0.05, 0.05))
    assert batch.token[batch.frontier(0.0)].tolist() == [BISSAU]
    assert batch.results()[1].tolist() == [0.0]


def test_without_sampling_only_the_argmax_is_followed():
    batch = forest(trie((GUINEA, BISSAU), (GABON,)))
    batch.read(np.array([0]), logits(0.2, 0.1, 0.6, 0.05, 0.05))
    assert batch.token[batch.frontier(np.inf)].tolist() == [GABON]


def test_tries_side_by_side_do_not_touch():
    one, two = trie((GUINEA,)), trie((GABON,), (GUINEA, BISSAU))
    rows = {0: logits(0.7, 0.1, 0.1, 0.05, 0.05), 1: logits(0.1, 0.1, 0.2, 0.3, 0.3)}
    alone = forest(one)
    together = forest(two, one)
    for node, row in rows.items():
        alone.read(np.array([node]), row)
        together.read(np.array([node + len(two.parent)]), row)
    assert together.results()[1][1] == alone.results()[1][0]
    assert together.results()[1][0] == 0


def test_a_vocabulary_padded_with_logits_is_no_terminator():
    batch = forest(trie((GUINEA,)))
    batch.read(np.array([0]), torch.tensor([[0.0, 0, 0, 0, 0, 0, 9.0]]))
    batch.read(np.array([1]), torch.tensor([[0.0, 0, 0, 0, 0, 0, 9.0]]))
    right, chance = batch.results()
    assert not right[0]
    assert chance[0] < 1e-3
