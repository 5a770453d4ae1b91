"""What ``import wavedil`` gives: every public name and module, none of them before it is used."""

import pkgutil
import subprocess
import sys

import pytest

import wavedil


def test_every_public_module_and_name_is_there_without_importing_anything():
    code = """
import sys, wavedil
assert "torch" not in sys.modules and "numpy" not in sys.modules
assert {name for name in sys.modules if name.startswith("wavedil")} == {"wavedil", "wavedil._version"}
assert {"layers", "models", "Stream", "exponential_dilations"} <= set(dir(wavedil))
assert wavedil.exponential_dilations(3) == (1, 2, 4)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", [item.name for item in pkgutil.iter_modules(wavedil.__path__)])
def test_a_module_is_an_attribute(name):
    if not name.startswith("_"):
        assert name in dir(wavedil)
        assert getattr(wavedil, name).__name__ == f"wavedil.{name}"


@pytest.mark.parametrize("name", wavedil.__all__)
def test_a_name_is_an_attribute(name):
    assert name in dir(wavedil)
    assert getattr(wavedil, name) is not None


def test_a_misspelt_name_is_answered_by_the_nearest():
    with pytest.raises(AttributeError, match="has no attribute 'layer'; did you mean 'layers'"):
        wavedil.layer  # noqa: B018  # pyright: ignore
    with pytest.raises(AttributeError, match="has no attribute 'Streem'; did you mean 'Stream'"):
        wavedil.Streem  # noqa: B018  # pyright: ignore
    assert not hasattr(wavedil, "_layers")
