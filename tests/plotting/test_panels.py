import matplotlib.pyplot as plt
import pytest

from interfere.plotting.panels import panels


@pytest.mark.parametrize(
    ("count", "up", "across"), [(1, 1, 1), (4, 1, 4), (5, 2, 4), (9, 3, 4)]
)
def test_rows_of_four_and_nothing_behind_the_last(count, up, across):
    figure, axes = panels(count, size=(2, 3), margin=(0.5, 0.25))
    assert axes.shape == (up, across)
    assert tuple(figure.get_size_inches()) == (2 * across + 0.5, 3 * up + 0.25)
    assert [axis.get_visible() for axis in axes.flat] == [
        i < count for i in range(axes.size)
    ]
    plt.close(figure)
