"""Run code so that autograd shows everything that its results read, and nothing else.

The gradient of a module as it is misses inputs: behind a ReLU that is off, beside the element that a max picked,
through weights that start at zero, after a thousand factors below one. It never finds too many, so it is enough to keep
each function's own gradient from being zero by chance. While :class:`Dependences` is active

- values are forgotten after each function: random positive numbers instead, save that 0 stays (a constant: padding, a
  masked connection) and minus infinity stays (masked before a softmax);
- gradients are forgotten before each function: what is not zero becomes a random positive number;
- functions that are flat, pick an element or recur have stand-ins (:mod:`wavedil.receptive.measure.surrogates`).

Nothing vanishes, overflows or cancels then, however deep the module. The numbers are random because what cancels for
equal ones, as the gradient of differences of neighbours does, cancels for random ones with probability zero.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from wavedil.receptive.measure.subject import in_double
from wavedil.receptive.measure.surrogates import ELEMENTWISE, FLAT, LOGICAL, MASKED, names, surrogate_of, unmasked

# Functions that give numbers to Python, where no gradient follows them.
_LEAVING = names("__array__ __complex__ __float__ __index__ __int__ item numpy tolist")
# Functions that compute nothing which could be read.
_NATIVE = names(
    "__bool__ __deepcopy__ __format__ __repr__ __set__ backward register_hook as_strided_ requires_grad_ "
    "resize_ squeeze_ swapaxes_ swapdims_ t_ transpose_ unsqueeze_"
)
# Functions whose whole numbers do not depend on the numbers given.
_CONSTANT = names("_pack_padded_sequence _pad_packed_sequence empty_like full_like ones_like zeros_like")
# How the functions of torch that are written in Python ask whether somebody wants to replace them.
_CHECKS = names("has_torch_function has_torch_function_unary has_torch_function_variadic")
# The attribute in which a condition or index keeps the tensor it reads; None where it reads more than its own place.
_SOURCE = "_wavedil_source"


@dataclass
class _Call:
    """A call of a function of torch: what it calls, and which of its tensors depend on what is measured."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __post_init__(self) -> None:
        name = getattr(self.function, "__name__", "").split(".")[0]
        self.is_property = name == "__get__"
        self.name = getattr(self.function, "__self__").__name__ if self.is_property else name  # noqa: B009
        bare = self.name.rstrip("_")
        self.in_place = self.name in (bare + "_", "__setitem__")
        self.plain_name = bare if self.name == bare + "_" else self.name
        self.watched = [t for t in _tensors_of((self.args, self.kwargs)) if t.requires_grad or hasattr(t, _SOURCE)]
        self.discrete = any(hasattr(t, _SOURCE) for t in self.watched)

    def run(self) -> Any:
        return self.function(*self.args, **self.kwargs)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Any:
        """The result for other tensors."""
        args, kwargs = pytree.tree_map_only(Tensor, change, (self.args, self.kwargs))
        return self.function(*args, **kwargs)


class Dependences(TorchFunctionMode):
    """While active, the gradient of whatever torch computes is nonzero exactly where it reads.

    It is about tensors that require a gradient; all others are constants.

    Args:
        seed: of the numbers that stand for values and gradients.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)
        self._bodies: list[Callable[..., Any]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one function of torch.

        Raises:
            ValueError: where numbers computed from the input leave torch, or choose what is read.
        """
        call = _Call(func, args, kwargs or {})
        # A module's own no_grad does not make it read less.
        with torch.inference_mode(False), torch.enable_grad():
            if not call.watched or call.name in _NATIVE:
                return call.run()
            if call.plain_name in ("detach", "data"):
                return args[0] if call.discrete or call.in_place else args[0].view_as(args[0])
            # A truth value may steer the module, as where it checks its input.
            if call.name in _LEAVING and not (call.name == "item" and args[0].dtype == torch.bool):
                raise ValueError(f"{call.name} takes numbers computed from the input out of torch: no gradient follows")
            if self._is_open(func):
                return self._run_inside(func, call)
            if call.discrete:
                return self._run_discrete(call)
            if call.is_property:
                return call.run()
            if call.plain_name in FLAT or _is_maximum_of_two(call):
                return self._run_elementwise(call)
            if call.plain_name in ("sub", "subtract", "rsub") and len(call.watched) == 2:
                # Even the difference of equal numbers reads both.
                call = _Call(torch.Tensor.add_ if call.in_place else torch.add, args[:2], {})
            return self._run(call)

    def _is_open(self, function: Callable[..., Any]) -> bool:
        """Whether the mode can look inside: it is written in Python, and not what its own body calls underneath."""
        python = isinstance(function, FunctionType) and not _CHECKS.isdisjoint(function.__code__.co_names)
        return python and function not in self._bodies

    def _run_inside(self, function: Any, call: _Call) -> Any:
        """By what its body calls."""
        self._bodies.append(function)
        try:
            with self:
                return _python_body(function)(*call.args, **call.kwargs)
        finally:
            self._bodies.pop()

    def _run(self, call: _Call) -> Any:
        """By its own gradient, or by that of its stand-in."""
        call.function = surrogate_of(call.plain_name, call.function) or call.function
        if call.name == "__setitem__":
            return call.function(*call.args[:2], self._gated(call.args[2]))
        if call.in_place:
            return self._run_in_place(call)
        gated: list[Tensor] = []

        def gate(t: Tensor) -> Tensor:
            gated.append(self._gated(t))
            return gated[-1]

        result = call.mapped(gate)
        if _share_memory(_tensors_of(result), [t for t in gated if t.requires_grad]):
            # A view, which the module may write through: it must be one of the tensor itself.
            return call.run()
        if not _share_memory(_tensors_of(result), gated) and not _is_constant(call.name):
            self._remember(result, call)
        return pytree.tree_map(self.refreshed, result)

    def _run_in_place(self, call: _Call) -> Tensor:
        """On a copy, as the gradient may need values that a later function overwrites."""
        first, *others = call.args
        others, kwargs = pytree.tree_map(self._gated, (others, call.kwargs))
        twin = self._gated(first).clone()
        call.function(twin, *others, **kwargs)
        return first.copy_(self.refreshed(twin))

    def _remember(self, result: Any, call: _Call) -> None:
        """Note on conditions and indices what they were computed from."""
        for t in _tensors_of(result):
            if not _has_gradient(t):
                setattr(t, _SOURCE, self._sum(call.watched, t.shape) if call.plain_name in LOGICAL else None)

    def _run_elementwise(self, call: _Call) -> Any:
        """The sum of all that is read, instead of the function's result; beside it, where that is no number."""
        sources = [getattr(t, _SOURCE, t) for t in call.watched]
        if call.in_place and _has_gradient(call.args[0]):
            for source in sources:
                if source is not call.args[0]:
                    call.args[0].add_(self._gated(source))
            return call.args[0]
        with torch.no_grad():
            result = call.run()
        total = self._sum(sources, result.shape)
        if _has_gradient(result):
            return self.refreshed(total)
        setattr(result, _SOURCE, total)
        return result

    def _run_discrete(self, call: _Call) -> Any:
        """With a condition or an index that was computed from the input."""
        known = all(getattr(t, _SOURCE, t) is not None for t in call.watched)
        if known and (call.plain_name in ELEMENTWISE or _is_assignment_where(call)):
            return self._run_elementwise(call)
        result = None if call.in_place else call.run()
        results = _tensors_of(call.args[0] if call.in_place else result)
        if any(_has_gradient(t) for t in results):
            raise ValueError(
                f"{call.name} reads where an index or condition computed from the input says: no gradient shows that"
            )
        if call.in_place:
            result = call.run()
        views = known and _share_memory(results, call.watched)
        sources = _tensors_of(call.mapped(lambda t: getattr(t, _SOURCE, t))) if views else [None] * len(results)
        for t, source in zip(results, sources, strict=True):
            setattr(t, _SOURCE, source)
        return result

    def _sum(self, sources: list[Tensor], shape: torch.Size) -> Tensor:
        gated = [self._gated(source) for source in sources]
        # Where one of several is masked, a maximum reads the others.
        terms = gated if len(gated) == 1 else [unmasked(t) for t in gated]
        return sum(terms[1:], terms[0]).expand(shape)

    def _gated(self, value: Any) -> Any:
        """In double precision, and with gradients forgotten on their way back."""
        value = in_double(value)
        return _Gate.apply(value, self) if isinstance(value, Tensor) and value.requires_grad else value

    def refreshed(self, value: Any) -> Any:
        """A tensor that requires a gradient with values forgotten; anything else as it is."""
        return _Refresh.apply(value, self) if isinstance(value, Tensor) and value.requires_grad else value

    def _numbers_like(self, x: Tensor) -> Tensor:
        """Random between 1/4 and 3/4: where no function of the usual ones saturates or is flat."""
        real = torch.rand(x.shape, generator=self._generator, dtype=torch.float64) / 2 + 0.25
        return torch.complex(real, self._numbers_like(real)) if x.is_complex() else real

    def values_like(self, x: Tensor) -> Tensor:
        fresh = self._numbers_like(x).to(x.dtype).masked_fill_(x == 0, 0)
        return fresh if x.is_complex() else fresh.masked_fill_(x <= MASKED, -torch.inf)

    def gradients_like(self, x: Tensor) -> Tensor:
        # A gradient that is not a number is zero times infinity: nothing comes back, so nothing was read.
        return self._numbers_like(x).to(x.dtype).masked_fill_((x == 0) | x.isnan(), 0)


class _Gate(torch.autograd.Function):
    """Identity with a fresh gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, numbers: Dependences) -> Tensor:
        ctx.numbers = numbers
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return ctx.numbers.gradients_like(gradients[0]), None


class _Refresh(torch.autograd.Function):
    """Fresh values with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, numbers: Dependences) -> Tensor:
        return numbers.values_like(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0], None


@functools.cache
def _python_body(function: FunctionType) -> FunctionType:
    """A function of torch that is written in Python, made so that the mode sees the functions inside.

    Such a function asks first whether a mode wants it, and the answer is yes for as long as one is active: this copy
    of it is always told no.
    """
    told = {**function.__globals__, **dict.fromkeys(_CHECKS, lambda *_: False)}
    body = FunctionType(function.__code__, told, function.__name__, function.__defaults__, function.__closure__)
    body.__kwdefaults__ = function.__kwdefaults__
    return body


def _is_constant(name: str) -> bool:
    return name in _CONSTANT or name.startswith("new_")


def _is_maximum_of_two(call: _Call) -> bool:
    return call.name in ("max", "min") and len(_tensors_of((call.args, call.kwargs))) == 2


def _is_assignment_where(call: _Call) -> bool:
    """``x[condition] = constant``, elementwise."""
    if call.name != "__setitem__" or not isinstance(call.args[1], Tensor):
        return False
    target, index, value = call.args
    return index.dtype == torch.bool and index.shape == target.shape and all(value is not t for t in call.watched)


def _tensors_of(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def _has_gradient(t: Tensor) -> bool:
    return t.is_floating_point() or t.is_complex()


def _share_memory(results: list[Tensor], inputs: list[Tensor]) -> bool:
    held = {t.untyped_storage().data_ptr() for t in inputs if t.numel()}
    return any(t.untyped_storage().data_ptr() in held for t in results if t.numel())
