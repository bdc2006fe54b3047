"""A dry run's estimate as a table."""

from rich.table import Table

from interfere.study.estimate import Estimate


def estimate_table(found: Estimate) -> Table:
    """Plan, memory, disk and cost, with what each rests on."""
    view = Table("what", "estimate", title=f"{found.study}: dry run", title_justify="left")
    view.add_row("runs", f"{found.runs}, {found.steps:,} optimizer steps each")
    view.add_row("facts trained on", f"{found.rows:,}")
    view.add_row("memory a run", f"{found.memory / 1e9:,.1f} GB")
    view.add_row(
        "disk", f"{found.disk / 1e9:,.1f} GB (free: {found.free_disk / 1e9:,.0f} GB)"
    )
    for stage, flops in found.flops.items():
        view.add_row(f"{stage}", f"{flops:.1e} floating-point operations")
    view.add_row(
        "time here", f"{found.hours:,.1f} h in float32, by a measured matrix product"
    )
    view.add_row("time on a GPU", f"{found.gpu_hours:,.2f} h at 200 TFLOP/s (assumed)")
    return view
