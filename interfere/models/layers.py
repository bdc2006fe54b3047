"""Which block a hook belongs to, by its name."""

import re


def layer(hook: str) -> int | None:
    """Index of the hook's block, or None outside the blocks."""
    found = re.match(r"blocks\.(\d+)\.", hook)
    return int(found.group(1)) if found else None


def residual_layer(hook: str) -> int | None:
    """Index of the block whose output, the residual stream, the hook is; else None."""
    return layer(hook) if re.fullmatch(r"blocks\.\d+\.hook_out", hook) else None
