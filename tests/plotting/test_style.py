import matplotlib.pyplot as plt
import pandas as pd
import pytest

from interfere.plotting import style


def test_saves_pdf_png_and_what_is_drawn(tmp_path):
    plt.close("all")  # what other tests drew
    figure, axis = plt.subplots()
    axis.plot([0, 1])
    numbers = pd.DataFrame({"x": [0, 1], "y": [0.5, 0.25]})
    style.save(figure, numbers, tmp_path / "deep" / "picture")
    files = {path.suffix: path for path in (tmp_path / "deep").iterdir()}
    assert files.keys() == {".pdf", ".png", ".csv"}
    assert files[".png"].read_bytes().startswith(b"\x89PNG")
    assert files[".pdf"].read_bytes().startswith(b"%PDF")
    pd.testing.assert_frame_equal(pd.read_csv(files[".csv"]), numbers)
    assert not plt.get_fignums()


def test_arms_are_told_apart_without_colour():
    looks = style.looks(["a", "b", "a", "c"])
    assert list(looks) == ["a", "b", "c"]
    assert len({str(look["linestyle"]) for look in looks.values()}) == 3


def luminance(colour: str) -> float:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", style.COLOURS)
def test_colours_stand_out_on_white(colour):
    assert luminance(colour) < 0.72
