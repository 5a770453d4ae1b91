import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import wavedil
from wavedil.data.torchaudio_compat import torchaudio


@pytest.fixture
def no_torchaudio(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if torchaudio had not been imported yet; what was imported comes back afterwards."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torchaudio"}
    for name in before:
        del sys.modules[name]
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        del sys.modules[name]
    sys.modules.update(before)


def fake_torchaudio(
    folder: Path, extension: str, package: str = "from . import _extension\nfrom . import pure"
) -> Path:
    """A package shaped as torchaudio is, with the given code as its extension module."""
    (folder / "torchaudio" / "_extension").mkdir(parents=True)
    (folder / "torchaudio" / "__init__.py").write_text(package)
    (folder / "torchaudio" / "_extension" / "__init__.py").write_text(extension)
    (folder / "torchaudio" / "pure.py").write_text(
        "from torchaudio._extension import _IS_TORCHAUDIO_EXT_AVAILABLE as ext"
    )
    return folder


@pytest.mark.usefixtures("no_torchaudio")
def test_a_native_import_that_works_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(fake_torchaudio(tmp_path, "_IS_TORCHAUDIO_EXT_AVAILABLE = True"))
    assert torchaudio().pure.ext is True
    assert torchaudio() is sys.modules["torchaudio"]


@pytest.mark.parametrize("error", ["OSError('libc10_cuda.so')", "RuntimeError('CUDA versions')", "ImportError('lib')"])
@pytest.mark.usefixtures("no_torchaudio")
def test_an_extension_that_fails_is_replaced_without_a_word(
    error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(fake_torchaudio(tmp_path, f"raise {error}"))
    module = torchaudio()
    assert module.pure.ext is False
    assert module._extension._IS_TORCHAUDIO_EXT_AVAILABLE is False
    assert torchaudio() is module
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("no_torchaudio")
def test_other_failures_are_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(fake_torchaudio(tmp_path, "raise OSError('first')", "from . import _extension, absent"))
    with pytest.raises(RuntimeError, match=r"first.*absent"):
        torchaudio()
    assert not [name for name in sys.modules if name.startswith("torchaudio")]


@pytest.mark.usefixtures("no_torchaudio")
def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(ModuleNotFoundError, match="pip install torchaudio"):
        torchaudio()


def test_all_that_is_needed_runs_without_the_extension() -> None:
    # In a process of its own: the real torchaudio with an extension that cannot be loaded, whatever torch is here.
    code = """
import torch
def fail(path): raise OSError("Could not load this library")
torch.ops.load_library = fail
from wavedil.data.torchaudio_compat import torchaudio
import inspect
module = torchaudio()
assert module.functional.resample(torch.ones(441), 44_100, 16_000).shape == (160,)
assert module.transforms.MelSpectrogram(n_fft=64, n_mels=8)(torch.ones(640)).shape[0] == 8
assert "subset" in inspect.signature(module.datasets.SPEECHCOMMANDS).parameters
one = torch.tensor([1.0, 0.0])
assert module.functional.lfilter(torch.ones(3), one, one).tolist() == [1, 1, 1]
try:
    module.functional.forced_align(torch.zeros(1, 2, 3), torch.ones(1, 1))
except RuntimeError as error:
    assert "extension" in str(error)
else:
    raise AssertionError
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(wavedil.__file__).parents[1],
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_here_too() -> None:
    assert torchaudio().functional.resample(torch.ones(1, 300), 3, 1).shape == (1, 100)


def test_no_other_module_imports_it() -> None:
    for path in Path(wavedil.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "torchaudio"], path
