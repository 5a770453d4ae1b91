"""A module as its user wrote it, made ready to be looked into: copied, with all of its layers known and made."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree


def copy_of(module: nn.Module, *, or_itself: bool = False) -> nn.Module:
    """A deep copy on the CPU; of a compiled module, of what was compiled. Layers in plain lists become part of it.

    Args:
        module: of the user; it is not changed.
        or_itself: give back a module that cannot be copied as it is.

    Raises:
        ValueError: for a scripted module, whose code nothing can look into, or one that cannot be copied.
    """
    module = getattr(module, "_orig_mod", module)
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            raise ValueError(f"{name or 'the module'} is scripted, expected a module that runs in Python")
    # Tensors made by other tensors (the weight of an old-style weight norm) cannot be copied deeply.
    tensors = [leaf for part in module.modules() for leaf in pytree.tree_leaves(vars(part)) if isinstance(leaf, Tensor)]
    made = {id(tensor): tensor.detach().clone() for tensor in tensors if not tensor.is_leaf}
    try:
        twin = copy.deepcopy(module, made)
    except Exception as error:  # whatever the module holds: locks, files, generators
        if or_itself:
            return module
        raise ValueError(f"{type(module).__name__} cannot be copied: {type(error).__name__}: {error}") from error
    for part, name, layers in list(unregistered(twin)):
        part.add_module(f"{name}_layers", _Listed(layers))
    return twin.cpu()


def unregistered(module: nn.Module) -> Iterator[tuple[nn.Module, str, list[nn.Module]]]:
    """Modules in lists and dicts among a module's attributes, which torch does not see: owner, name and layers."""
    known = set(map(id, module.modules()))
    for part in module.modules():
        for name, value in vars(part).items():
            if name.startswith("_") or name in part._modules:
                continue
            layers = [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, nn.Module)]
            layers = [layer for layer in layers if id(layer) not in known]
            if layers:
                yield part, name, layers


def unregistered_notes(module: nn.Module) -> list[str]:
    """What is to be said of layers that torch does not see."""
    return [
        f"{type(part).__name__}.{name}: {len(layers)} layers that torch does not see: parameters(), eval() and "
        "state_dict() pass them over; nn.ModuleList holds them"
        for part, name, layers in unregistered(module)
    ]


def made(module: nn.Module, args: tuple[Any, ...]) -> nn.Module:
    """With lazy layers made, by a run with these inputs."""
    if any(is_lazy(t) for t in [*module.parameters(), *module.buffers()]):
        with torch.no_grad():
            module(*args)
    return module


class Flat(nn.Module):
    """A module that gives its tensors as a flat tuple, whatever holds them: lists, dicts, dataclasses.

    Args:
        inner: the module.
        names: of its inputs, where they are given by name.
    """

    wraps = True  # errors name the module inside

    def __init__(self, inner: nn.Module, names: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.names = names
        self.training = inner.training

    def forward(self, *args: Any) -> tuple[Tensor, ...]:
        """All tensors that the module returns, in order."""
        if self.names is None:
            return tuple(tensors_in(self.inner(*args)))
        return tuple(tensors_in(self.inner(**dict(zip(self.names, args, strict=True)))))


def tensors_in(result: Any) -> Iterator[Tensor]:
    """The tensors that something holds, in order."""
    for leaf in pytree.tree_leaves(result):
        if isinstance(leaf, Tensor):
            yield leaf
        elif hasattr(leaf, "__dict__") and not isinstance(leaf, nn.Module | type) and not callable(leaf):
            yield from tensors_in(dict(vars(leaf)))


class _Listed(nn.Module):
    """Layers of a plain list, under the name of the list."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        for number, layer in enumerate(layers):
            self.add_module(str(number), layer)
