"""A model on the straight line from before training to after it."""

from dataclasses import dataclass

import torch

from interfere.errors import InputError
from interfere.models.model import Model


@dataclass(frozen=True)
class WiseFT:
    """Weights (1 - share) · before + share · after: 0 and 1 are the two ends, bit for bit.

    Cost: no training; one pass over the weights. Known to fail: new facts are lost before
    old ones come back, where the line leaves the valley that both ends lie in.

    Raises:
        InputError: a share outside [0, 1].

    Source: WiSE-FT, arXiv 2109.01903, section 3.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"share must be in [0, 1], got {self.share}")

    def repair(self, before: Model, after: Model) -> Model:
        """A copy; both models stay as they are.

        Raises:
            InputError: models of unlike shapes.
        """
        mended = after.copy(f"{after.name}, {self.share:g} of the way")
        old = before.network.state_dict()
        done: set[int] = set()
        with torch.no_grad():
            for name, value in mended.network.state_dict().items():
                # tied weights are one storage under two names
                if value.data_ptr() in done:
                    continue
                done.add(value.data_ptr())
                if name not in old or old[name].shape != value.shape:
                    raise InputError(
                        f"{after.name} has {name} of shape {tuple(value.shape)}, which "
                        f"{before.name} lacks; interpolate between models of one shape"
                    )
                if self.share == 0:
                    value.copy_(old[name])
                elif self.share < 1 and value.is_floating_point():
                    value.copy_(torch.lerp(old[name].to(value), value, self.share))
        return mended
