"""Figures read back from the device without waiting for it."""

import torch
from torch import Tensor


class Readback:
    """A tensor on its way to the host: asked for at one step, taken at a later one, once it is there.

    Reading a number of a CUDA tensor at once would make the host wait until all that it has launched is computed.
    """

    def __init__(self) -> None:
        self._host: Tensor | None = None
        self._event: torch.cuda.Event | None = None
        self._label = ""

    def ask(self, tensor: Tensor, label: str) -> None:
        """Begin to copy a tensor as it is now; one that was asked for before and is not there yet is given up.

        Args:
            tensor: on any device.
            label: given back with it.
        """
        self._label, self._event = label, None
        if tensor.device.type != "cuda":
            self._host = tensor.clone()
            return
        self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._host.copy_(tensor, non_blocking=True)
        self._event = torch.cuda.Event()
        self._event.record()

    def take(self, wait: bool = False) -> tuple[list[float], str] | None:
        """The numbers and their label, once each; None if there is nothing, or nothing yet.

        Args:
            wait: for the device, so that several processes take it at the same step.
        """
        if self._host is None:
            return None
        if self._event is not None:
            if wait:
                self._event.synchronize()
            elif not self._event.query():
                return None
        numbers, self._host = self._host.tolist(), None
        return numbers, self._label
