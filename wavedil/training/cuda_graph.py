"""A function of CUDA tensors captured once and replayed, so that all of its kernels cost one launch.

Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs, capture of a whole network.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from wavedil.config import TrainConfig
from wavedil.training.distributed import Process

WARM_UP = 3  # calls before the capture, which may not allocate workspaces, plan transforms or compile

Function = Callable[..., tuple[Tensor, ...]]


class GraphedCall:
    """Calls a function as it is a few times, then from its captured graph.

    What the function changes beside its outputs (weights, statistics, an optimiser's state) it must change in place.

    Args:
        function: of CUDA tensors of unchanging shapes; it may draw from ``generator`` and torch's own.
        generator: of the device; both are seeded before a call as they are without a graph.
        device: a CUDA device.
    """

    def __init__(self, function: Function, generator: torch.Generator, device: torch.device) -> None:
        self._function, self._generator = function, generator
        self._stream = torch.cuda.Stream(device)  # a capture needs one of its own; autograd stays on that of warm-up
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: tuple[Tensor, ...] = ()
        self._calls = 0

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The function's outputs, which the next call overwrites."""
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._warm_up(inputs)
        graph = self._capture(inputs) if self._graph is None else self._graph
        for static, given in zip(self._inputs, inputs, strict=True):
            static.copy_(given)
        graph.replay()
        return self._outputs

    def _warm_up(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            outputs = self._function(*inputs)
        current.wait_stream(self._stream)
        return outputs

    def _capture(self, inputs: tuple[Tensor, ...]) -> torch.cuda.CUDAGraph:
        """Record the function's kernels; nothing is computed until the graph is replayed."""
        self._inputs = tuple(tensor.clone() for tensor in inputs)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)  # torch's own is known to every graph
        with torch.cuda.graph(graph, stream=self._stream):
            self._outputs = self._function(*self._inputs)
        self._graph = graph
        return graph


def choose_cuda_graph(config: TrainConfig, process: Process) -> bool:
    """Whether the step is captured: on a CUDA device, in a run of one process, unless it is not wanted.

    A small model is bound by the launches of its kernels (docs/results/training_speed.md).
    """
    return config.cuda_graph != "off" and process.device.type == "cuda" and process.backend is None
