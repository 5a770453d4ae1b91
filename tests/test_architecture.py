"""The rooms of the house: imports run one way."""

import ast
from pathlib import Path

import pytest

import wavedil

PACKAGE = Path(wavedil.__file__).parent

# Each room may import itself and what stands after it; wavedil._version and wavedil.checks are free.
ALLOWED = {
    "checks": set(),
    "config": set(),
    "files": set(),
    "folders": {"files"},
    "text": {"files"},
    "receptive": {"config"},
    "functional": {"receptive", "config"},
    "layers": {"receptive", "functional", "config", "checks"},
    "wavelets": {"layers", "receptive", "config"},
    "features": {"layers", "receptive", "functional", "config"},
    "filterbank": {"features", "layers", "receptive", "functional", "config"},
    "models": {"filterbank", "features", "layers", "receptive", "functional", "config"},
    "streaming": {"models", "layers", "receptive", "config"},
    "export": {"models", "layers", "receptive", "config", "streaming"},
    "runtime": {"models", "filterbank", "features", "layers", "receptive", "config", "folders"},
    "testing": {"models", "layers", "receptive", "config", "streaming", "export"},
    "audio": set(),
    "data": {"audio", "config", "files", "functional", "folders", "text"},
    "training": {
        "data",
        "audio",
        "models",
        "runtime",
        "features",
        "filterbank",
        "layers",
        "streaming",
        "receptive",
        "functional",
        "config",
        "files",
        "folders",
        "text",
    },
    "detect": {"training", "data", "audio", "models", "layers", "streaming", "config"},
    "__main__": {"cli"},
    "cli": {
        "detect",
        "training",
        "files",
        "data",
        "audio",
        "models",
        "features",
        "export",
        "streaming",
        "receptive",
        "config",
    },
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Rooms that a file imports at any depth; what only the type checker reads does not count."""
    tree = ast.parse(path.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            whole = node.module == "wavedil"
            names |= {f"wavedil.{alias.name}" for alias in node.names} if whole else {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("wavedil.")} - {"_version", "checks"}


FILES = sorted(path for path in PACKAGE.rglob("*.py") if room_of(path) not in ("__init__", "_version"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_arrow_runs_back(path):
    room = room_of(path)
    assert room in ALLOWED, f"{room} has no place in the house: give it one here and in docs/design.md"
    backwards = imports_of(path) - ALLOWED[room] - {room}
    assert not backwards, f"{path.name} in {room} imports {sorted(backwards)}, allowed are {sorted(ALLOWED[room])}"


def test_the_check_sees_an_arrow(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text(
        "def f():\n    from wavedil.models import x\n    import wavedil.cli.train\n    from wavedil import export\n"
    )
    assert imports_of(file) == {"models", "cli", "export"}


def test_each_file_of_tests_has_a_name_of_its_own() -> None:
    """Pytest imports them by their names alone."""
    names = [path.name for path in Path(__file__).parent.rglob("*.py")]
    assert {name for name in names if names.count(name) > 1} == set()
