"""Models whose weights accelerate shards over devices (FSDP2)."""

from collections.abc import Sequence

from accelerate import Accelerator
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from interfere.errors import InputError
from interfere.training.freezing import masks_weights
from interfere.training.mitigation import (
    AddedRows,
    ChangesGradient,
    Mitigation,
    Watches,
)
from interfere.training.teacher import AdapterOff, Teacher


def laid_out_as(values: Tensor, parameter: Tensor) -> Tensor:
    """The same values where the parameter is, sharded as it is; all ranks hold them whole."""
    values = values.to(parameter.device)
    if isinstance(parameter, DTensor) and not isinstance(values, DTensor):
        return distribute_tensor(
            values, parameter.device_mesh, parameter.placements, src_data_rank=None
        )
    return values


def whole(value: Tensor) -> Tensor:
    """A number that is a sum over shards, summed over ranks."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def refuse_sharded(
    accelerator: Accelerator,
    mitigations: Sequence[Mitigation],
    added: AddedRows | None,
    teacher: Teacher | None,
) -> None:
    """Refuse what a sharded model can't do, before it trains.

    Between steps no rank holds whole weights or gradients, so what asks the model then, or
    changes a gradient as a whole, needs DDP or one device.

    Raises:
        InputError: such a mitigation, or FSDP's first version.
    """
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is None or not mitigations:
        return
    if plugin.fsdp_version != 2:
        raise InputError(
            "mitigations work with FSDP2 alone: set fsdp_config={'version': 2, …}, or "
            "fsdp_version: 2 in accelerate's configuration"
        )
    asking = added is not None and added.refresh is not None
    if masks_weights(mitigations):
        raise InputError(
            "Freezing(random_control=True) masks single weights' gradients, which sharding "
            "drops; train it with DDP"
        )
    for one in mitigations:
        if isinstance(one, ChangesGradient | Watches) or asking:
            raise InputError(
                f"{type(one).__name__} asks the model or changes its gradient between steps, "
                "which a sharded model doesn't allow; train it with DDP"
            )
    if isinstance(teacher, AdapterOff):
        raise InputError(
            "teacher='adapter-off' runs parts of the student, which a sharded model doesn't "
            "allow; distil with teacher='start'"
        )
