"""Counts the memory that a forward pass leaves for the backward pass, without computing or allocating anything.

The nets lie on PyTorch's meta device, where tensors have shapes and no contents. A forward pass of any size therefore
takes a second or two on any machine.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import FunctionCtx
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

# What CUDA's autocast runs in 16 bits and in float32 (https://docs.pytorch.org/docs/stable/amp.html).
IN_HALF = {torch.conv2d, F.linear, torch.matmul, torch.bmm, torch.baddbmm, F.scaled_dot_product_attention}
IN_FULL = {F.group_norm, F.layer_norm, F.softmax}


class SavedBytes(saved_tensors_hooks):
    """Context manager that counts the bytes of tensors that autograd saves; shared memory counts once.

    Attributes:
        total: Bytes of all saved tensors except the weights of `nets`.
        largest: Bytes of the largest one.
        recomputed: Bytes that the largest checkpointed block saves when the backward pass recomputes it.
    """

    def __init__(self, *nets: nn.Module) -> None:
        super().__init__(self.save, lambda tensor: tensor)
        weights = (value.untyped_storage() for net in nets for value in (*net.parameters(), *net.buffers()))
        # Meta tensors have no address: their storage objects show which of them share memory.
        self._counted = {id(storage): storage for storage in weights}
        self.total = self.largest = self.recomputed = 0

    def save(self, tensor: torch.Tensor) -> torch.Tensor:
        """Counts a tensor and returns it."""
        storage = tensor.untyped_storage()
        if id(storage) not in self._counted:
            self._counted[id(storage)] = storage
            self.total += storage.nbytes()
            self.largest = max(self.largest, storage.nbytes())
        return tensor

    def checkpoint(self, block: Callable, *inputs: object) -> object:
        """Runs a block whose inputs alone are saved; give this to a diffusers net's `enable_gradient_checkpointing`."""
        for value in inputs:
            if isinstance(value, torch.Tensor):
                self.save(value)
        inner = SavedBytes()
        inner._counted = dict(self._counted)
        with inner:
            outputs = block(*inputs)
        self.recomputed = max(self.recomputed, inner.total)
        return outputs

    @property
    def peak(self) -> int:
        """Bytes at the start of the backward pass: all saved tensors, and a gradient of the largest one."""
        return self.total + self.recomputed + self.largest


class Precision(TorchFunctionMode):
    """Context manager that gives tensors on the meta device the precision of autocast, and fuses attention.

    Args:
        half: Whether autocast to 16 bits is on.
        on_gpu: Whether norms run in float32, as CUDA's autocast has them; a CPU's leaves them in 16 bits.
    """

    def __init__(self, half: bool, on_gpu: bool) -> None:
        super().__init__()
        in_half, in_full = IN_HALF if half else (), IN_FULL if half and on_gpu else ()
        self._dtypes = dict.fromkeys(in_half, torch.bfloat16) | dict.fromkeys(in_full, torch.float32)

    def __torch_function__(
        self, function: Callable, types: object, args: tuple = (), kwargs: dict[str, object] | None = None
    ) -> object:
        """Calls a function of torch with its tensors in the precision that autocast chooses."""
        dtype, kwargs = self._dtypes.get(function), kwargs or {}
        if dtype:
            args = tuple(_cast(value, dtype) for value in args)
            kwargs = {name: _cast(value, dtype) for name, value in kwargs.items()}
        if function is F.scaled_dot_product_attention:
            return _FusedAttention.apply(*args[:3])
        return function(*args, **kwargs)


def _cast(value: object, dtype: torch.dtype) -> object:
    return value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value


class _FusedAttention(torch.autograd.Function):
    """Saves what fused attention kernels save (Dao et al. 2022, algorithm 2), and no matrix of attention weights."""

    @staticmethod
    def forward(ctx: FunctionCtx, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return output
