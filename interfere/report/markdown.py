"""Tables as Markdown, to be pasted into a page."""

from collections.abc import Iterable

from rich.table import Table


def markdown(table: Table) -> str:
    """Title, head and rows of a table of text; columns keep their side."""
    heads = [str(column.header) for column in table.columns]
    sides = ["--:" if column.justify == "right" else "---" for column in table.columns]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    lines = [_line(cells) for cells in (heads, sides, *rows)]
    return "\n".join([f"**{table.title}**", "", *lines, ""])


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
