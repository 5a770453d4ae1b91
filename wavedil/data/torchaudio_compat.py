"""The one place that imports torchaudio.

torchaudio 2.11 loads a compiled extension when it is imported, and that fails where the extension was built for
another torch: with a CPU-only torch (OSError, libc10_cuda.so is not there) or another CUDA version (RuntimeError). All
that this package takes from it (datasets, resampling, transforms) is Python and torch, and runs without the extension.
"""

import importlib
import sys
import threading
from types import ModuleType
from typing import Any

_lock = threading.Lock()  # decoding threads may be the first to ask


def torchaudio() -> ModuleType:
    """Import torchaudio, without its compiled extension if that cannot be loaded.

    Returns:
        The module; without the extension, what needs it (``forced_align``, the CUDA CTC decoder) raises RuntimeError
        when it is called, and the filters run their Python loops.

    Raises:
        ModuleNotFoundError: if torchaudio is not installed.
        RuntimeError: if it cannot be imported even without the extension.
    """
    with _lock:
        try:
            return importlib.import_module("torchaudio")
        except ModuleNotFoundError as error:
            if error.name == "torchaudio":
                raise ModuleNotFoundError(
                    "torchaudio is not installed: pip install torchaudio", name=error.name
                ) from None
            reason: Exception = error
        except (ImportError, OSError, RuntimeError) as error:
            reason = error
        return _import_without_extension(reason)


def _import_without_extension(reason: Exception) -> ModuleType:
    _forget()
    sys.modules["torchaudio._extension"] = _stub()
    try:
        module = importlib.import_module("torchaudio")
    except Exception as error:
        _forget()
        raise RuntimeError(f"torchaudio cannot be imported: {reason}; nor without its extension: {error}") from error
    vars(module)["_extension"] = sys.modules["torchaudio._extension"]  # as the import system would have set it
    return module


def _stub() -> ModuleType:
    """What torchaudio takes from ``torchaudio._extension``, saying that there is no extension."""

    def fail_if_no_align(function: Any) -> Any:
        def unavailable(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError(
                f"{function.__name__} needs torchaudio's compiled extension, which does not fit this torch"
            )

        return unavailable

    stub = ModuleType("torchaudio._extension")
    vars(stub).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _check_cuda_version=lambda: None,
        _load_lib=lambda _library: False,
        fail_if_no_align=fail_if_no_align,
    )
    return stub


def _forget() -> None:
    """Drop the modules that a failed import left behind, or the next import would meet them half initialised."""
    for name in [name for name in sys.modules if name == "torchaudio" or name.startswith("torchaudio.")]:
        del sys.modules[name]
