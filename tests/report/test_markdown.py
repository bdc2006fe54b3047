"""Tables become Markdown cell by cell."""

from rich.table import Table

from interfere.report.markdown import markdown


def test_cells_keep_their_place_and_side():
    table = Table("arm", title="what was lost")
    table.add_column("share", justify="right")
    table.add_row("SFT | keys", ".1 [.0, .2]")
    table.add_row("Known only", "–")
    assert markdown(table) == (
        "**what was lost**\n"
        "\n"
        "| arm | share |\n"
        "| --- | --: |\n"
        "| SFT \\| keys | .1 [.0, .2] |\n"
        "| Known only | – |\n"
    )
