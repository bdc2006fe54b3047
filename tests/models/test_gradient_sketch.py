"""A matrix's sketch, on factors made by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interfere.models.example_gradients import Lookup, Outer, Whole, in_full
from interfere.models.gradient_sketch import MatrixSketch, VectorSketch

CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def outer(seed: int, rows: int, columns: int) -> Outer:
    own = generator(seed)
    return Outer(
        torch.randn(4, 3, rows, generator=own), torch.randn(4, 3, columns, generator=own)
    )


@settings(deadline=None, max_examples=30)
@given(
    rows=st.integers(1, 20), columns=st.integers(1, 20), numbers=st.integers(1, 500),
    seed=st.integers(0, 10**6),
)  # fmt: skip
def test_size_and_linearity(rows, columns, numbers, seed):
    """Sketches of sums are sums of sketches, in no more numbers than allowed."""
    shape = torch.Size((rows, columns))
    scale = torch.rand(rows, columns, generator=generator(seed))
    sketch = MatrixSketch(shape, numbers, generator(seed), CPU, scale)
    a, b = outer(seed, rows, columns), outer(seed + 1, rows, columns)
    both = Outer(torch.cat([a.rows, b.rows], 1), torch.cat([a.columns, b.columns], 1))
    torch.testing.assert_close(sketch(both), sketch(a) + sketch(b), rtol=1e-4, atol=1e-4)
    assert sketch(a).shape[:2] == (2, 4)
    assert sketch(a).shape[2] <= numbers
    if numbers >= rows * columns:
        full = in_full(a, shape)
        for kind, factor in zip(sketch(a), (1.0, scale), strict=True):
            flat = (full * factor).flatten(1)
            torch.testing.assert_close(kind @ kind.T, flat @ flat.T, rtol=1e-3, atol=1e-3)


def test_a_lookup_is_an_outer_product_with_ones():
    shape = torch.Size((30, 6))
    scale = torch.rand(shape, generator=generator(1))
    ids = torch.randint(30, (4, 5), generator=generator(2))
    columns = torch.randn(4, 5, 6, generator=generator(3))
    ones = torch.nn.functional.one_hot(ids, 30).float()
    sketch = MatrixSketch(shape, 24, generator(), CPU, scale, looked_up=True)
    torch.testing.assert_close(sketch(Lookup(ids, columns)), sketch(Outer(ones, columns)))


@pytest.mark.parametrize("apart", [True, False])
def test_rows_kept_apart_do_not_meet(apart):
    """With a bucket for each id that occurs, products of other rows are exactly 0."""
    ids = torch.arange(0, 400, 40)[:, None]
    columns = torch.ones(10, 1, 8)
    sketch = MatrixSketch(
        torch.Size((400, 8)), 80, generator(), CPU, None,
        looked_up=True, apart=ids.flatten() if apart else None,
    )  # fmt: skip
    found = sketch(Lookup(ids, columns))[0]
    products = found @ found.T
    off = products[~torch.eye(10, dtype=torch.bool)]
    assert (off.abs().max().item() == 0) == apart
    torch.testing.assert_close(products.diagonal(), products[0, 0].expand(10))


def test_a_vector_with_room_is_kept_as_it_is():
    values = torch.randn(5, 7, generator=generator())
    scale = torch.rand(7, generator=generator(1))
    plain, scaled = VectorSketch(torch.Size((7,)), 16, generator(), CPU, scale)(
        Whole(values)
    )
    torch.testing.assert_close(plain @ plain.T, values @ values.T)
    torch.testing.assert_close(scaled @ scaled.T, (values * scale) @ (values * scale).T)
