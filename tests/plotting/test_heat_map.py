import matplotlib.pyplot as plt
import numpy as np

from interfere.plotting.heat_map import heat_map, write_cells


def test_texts_stand_in_their_cells_and_out_from_them():
    figure, axis = plt.subplots()
    values = np.array([[0.1, 0.9, np.nan], [0.7, 0.3, 0.0]])
    names = [["a", "b", "c"], ["d", "e", "f"]]
    image = heat_map(axis, values, (0.0, 1.0))
    write_cells(axis, values, names, (0.0, 1.0), size=7)
    for text in axis.texts:
        column, row = text.get_position()
        assert text.get_text() == names[row][column]
        background = np.dot(image.to_rgba(values)[row, column, :3], (0.21, 0.72, 0.07))
        if not np.isnan(values[row, column]):
            assert (text.get_color() == "black") == (background > 0.48)
    assert len(axis.texts) == 6
    assert image.get_clim() == (0, 1)
    plt.close(figure)
