"""What ``wavedil rf`` is asked about: an expression that names a module, checked before torch is imported."""

import ast
import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavedil.training.description import model_folder


@dataclass(frozen=True)
class ModuleExpression:
    """``package.module:Class(arguments)``, taken apart; the arguments are literals, nothing is evaluated.

    Attributes:
        text: as it was given.
        place: the Python module.
        names: of what it holds, from the outside in.
        args: positional arguments.
        kwargs: named arguments.
    """

    text: str
    place: str
    names: tuple[str, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, text: str) -> "ModuleExpression":
        """Take an expression apart.

        Raises:
            ValueError: if it is none of that kind.
        """
        place, _, call = text.partition(":")
        form = f"{text}: expected package.module:Class or package.module:Class(1, 8, kernel_size=3), all literals"
        try:
            node = ast.parse(call, mode="eval").body
            positional, named = (node.args, node.keywords) if isinstance(node, ast.Call) else ([], [])
            args = tuple(ast.literal_eval(arg) for arg in positional)
            kwargs = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in named}
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
            raise ValueError(form) from error
        names = tuple(ast.unparse(node.func if isinstance(node, ast.Call) else node).split("."))
        starred = any(keyword.arg is None for keyword in named)
        if starred or not all(part.isidentifier() for part in (*place.split("."), *names)):
            raise ValueError(form)
        return cls(text, place, names, args, kwargs)


def is_config(target: str) -> bool:
    """Whether a target is the file of a config; some systems write suffixes in capitals."""
    return target.lower().endswith(".toml")


def is_onnx(target: str) -> bool:
    """Whether a target is an ONNX file."""
    return target.lower().endswith(".onnx")


def check_target(target: str) -> None:
    """Refuse what names neither a file nor a folder that is there, nor a module that may be imported.

    Raises:
        ValueError: naming the target.
        FileNotFoundError: if there is no such file, or no model in a folder.
    """
    path = Path(target)
    if is_onnx(target):
        if not path.exists():
            raise FileNotFoundError(f"{target}: no such file")
    elif path.is_dir():
        model_folder(path)
    elif ":" not in target:
        raise ValueError(
            f"{target}: expected a config (.toml), an ONNX file (.onnx), a checkpoint folder, "
            "package.module:Class(arguments) or the word design"
        )
    else:
        package = ModuleExpression.of(target).place.split(".")[0]
        with current_folder_first():
            if package not in sys.modules and not _is_found(package):
                raise ValueError(f"{target}: ModuleNotFoundError: no module named {package!r}, here or installed")


def _is_found(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


@contextlib.contextmanager
def current_folder_first() -> Iterator[None]:
    """Import from the current folder first, and print nothing of the user's among the answer."""
    sys.path.insert(0, str(Path.cwd()))
    importlib.invalidate_caches()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.path.pop(0)
