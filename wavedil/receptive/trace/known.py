"""Values that depend on no input, known while a module is captured, so that its code may ask for them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakIdKeyDictionary

# Functions that give a value to Python.
_ASKING = frozenset(
    "item tolist numpy equal allclose is_nonzero __array__ __bool__ __complex__ __float__ __index__ __int__".split()  # noqa: SIM905
)


class KnownValues(TorchFunctionMode):
    """While active, buffers, parameters and what is made of them and of constants have values during ``torch.export``.

    ``torch.export`` runs a module on tensors without values. Beside each that depends on no input this keeps one with
    values, made by the same functions, and answers from it when the code asks for a number.

    Args:
        module: that is captured.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = module
        self._given = {name: t.detach().clone() for name, t in _named_tensors(module)}
        self._values = WeakIdKeyDictionary()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one function of torch, and beside it on the values, where all of them are known."""
        kwargs = kwargs or {}
        tensors = _tensors((args, kwargs))
        name = getattr(func, "__name__", "")
        known = all(self._value(t) is not None for t in tensors)
        if known and tensors and name in _ASKING:
            return self._beside(func, args, kwargs)
        result = func(*args, **kwargs)
        fakes = [t for t in _tensors(result) if isinstance(t, FakeTensor)]
        writes = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
        if known and (fakes or writes):
            self._remember(fakes, func, args, kwargs)
        elif writes and tensors:
            self._forget(tensors[0])
        return result

    def _value(self, t: Tensor) -> Tensor | None:
        if not isinstance(t, FakeTensor):
            return t
        if t not in self._values:  # torch.export puts tensors without values in the place of the module's own
            for name, own in _named_tensors(self._module):
                if own is t:
                    self._values[t] = self._given[name]
        return self._values.get(t)

    def _beside(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The same function of the values."""
        args, kwargs = pytree.tree_map_only(Tensor, self._value, (args, kwargs))
        with torch._C.DisableTorchFunction(), unset_fake_temporarily(), disable_proxy_modes_tracing(), torch.no_grad():
            return func(*args, **kwargs)

    def _remember(self, fakes: Sequence[Tensor], func: Callable[..., Any], args: Any, kwargs: Any) -> None:
        try:
            values = _tensors(self._beside(func, args, kwargs))
        except Exception:  # a function that only torch.export's tensors understand: the value stays unknown
            return
        if len(values) == len(fakes):
            for fake, value in zip(fakes, values, strict=True):
                self._values[fake] = value

    def _forget(self, written: Tensor) -> None:
        """Something that depends on the input was written into a tensor: its value, and that of its views, is gone."""
        value = self._value(written)
        if value is None:
            return
        place = value.untyped_storage().data_ptr()
        for fake, other in list(self._values.items()):
            if other is not None and other.untyped_storage().data_ptr() == place:
                self._values[fake] = None


def _named_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]
