"""The checkpoints of a run: which count, and what happens when one is damaged or the disk is full."""

import io
import os
import pickle
import random
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assert_same, with_file_limit

from wavedil.training.checkpoint_store import CheckpointStore, load_state


def _state(value: int) -> dict[str, Any]:
    return {"step": value, "tensors": [torch.full((3,), float(value))], "none": None}


def _newest(store: CheckpointStore) -> dict[str, Any]:
    content = store.read_newest()
    assert content is not None
    return load_state(content)


def test_the_newest_complete_checkpoint_counts_and_two_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    assert store.read_newest() is None
    store.repair()
    files = {"model.safetensors": b"w", "config.json": b"{}"}
    for step in (9, 10, 100):
        store.save(step, files, _state(step))
    assert [path.name for path in store.complete()] == ["step-00000010", "step-00000100"]
    (tmp_path / "checkpoints" / "step-00000100" / "training.pt").unlink()
    newest = _newest(store)
    assert newest["step"] == 10
    assert torch.equal(newest["tensors"][0], torch.full((3,), 10.0))


def test_a_full_disk_is_told_and_the_former_checkpoint_is_intact(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    files = {"model.safetensors": b"w", "config.json": b"{}"}
    store.save(1, files, _state(1))
    big = _state(2) | {"big": torch.zeros(10_000)}
    with pytest.raises(RuntimeError, match=r"step-00000002: .*could not be written.*step-00000001 is intact.*--resume"):
        with_file_limit(20_000, lambda: store.save(2, files, big))
    assert [path.name for path in store.folder.iterdir()] == ["step-00000001"]
    assert _newest(store)["step"] == 1


def _saved(folder: Path, *steps: int) -> CheckpointStore:
    store = CheckpointStore(folder / "checkpoints")
    for step in steps:
        store.save(step, {"model.safetensors": b"w", "config.json": b"{}"}, _state(step))
    return store


def test_copies_links_and_what_others_put_there_are_no_checkpoints(tmp_path: Path) -> None:
    store = _saved(tmp_path, 5, 10)
    newest = store.folder / "step-00000010"
    others = ("step-00000010 copy", "step-00000010 (1)", "step-00000010 copy 2", "step-abc", "step-99", "step-1e9")
    for name in others:
        shutil.copytree(newest, store.folder / name)
    (store.folder / "step-00000099").symlink_to(newest)
    (store.folder / "step-00000077").touch()
    (store.folder / ".notes.tmp").touch()
    store.repair()
    assert [path.name for path in store.complete()] == ["step-00000005", "step-00000010"]
    store.save(11, {"model.safetensors": b"w", "config.json": b"{}"}, _state(11))
    assert [path.name for path in store.complete()] == ["step-00000010", "step-00000011"]
    left = {path.name for path in store.folder.iterdir()}
    assert left == {*others, ".notes.tmp", "step-00000099", "step-00000077", "step-00000010", "step-00000011"}


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = _saved(tmp_path, 1, 2)
    damaged = store.folder / "step-00000002" / "training.pt"
    content = damaged.read_bytes()[:-10]
    damaged.write_bytes(content)
    store.repair()
    said = capsys.readouterr().err
    assert said.startswith(f"{damaged}: damaged: ")
    assert said.endswith("; going on from step-00000001, it is now step-00000002.damaged\n")
    assert said.count("\n") == 1
    assert _newest(store)["step"] == 1
    assert (store.folder / "step-00000002.damaged" / "training.pt").read_bytes() == content
    store.save(2, {"model.safetensors": b"w", "config.json": b"{}"}, _state(2))  # as the run comes by again
    assert _newest(store)["step"] == 2
    store.repair()
    assert not capsys.readouterr().err


def _archive(compression: int = zipfile.ZIP_STORED, **files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def _saved_bytes(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


class _Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/executed",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        bytes(1000),
        _archive(),
        _archive(data=b"1", version=b"3"),
        _archive(zipfile.ZIP_DEFLATED, data=bytes(10_000_000)),
        _saved_bytes([1, 2]),
        _saved_bytes(None),
        pickle.dumps(_Command()),
        pickle.dumps({"step": 1}),
    ],
)
def test_what_is_no_state_is_one_line(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^damaged: ") as caught:
        load_state(content)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_twice_in_the_archive_is_refused() -> None:
    content = _saved_bytes({"step": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of the name
        buffer = io.BytesIO(content)
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr(archive.namelist()[0], b"other")
    with pytest.raises(ValueError, match="a name is there twice"):
        load_state(buffer.getvalue())


@pytest.mark.parametrize("spoil", ["pipe", "renamed", "long"])
def test_a_checkpoint_that_is_not_what_it_says_is_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: str
) -> None:
    store = _saved(tmp_path, 1, 2)
    newest = store.folder / "step-00000002"
    if spoil == "renamed":
        newest = newest.rename(store.folder / "step-99999999")
    elif spoil == "pipe":
        (newest / "training.pt").unlink()
        os.mkfifo(newest / "training.pt")
        assert [path.name for path in store.complete()] == ["step-00000001"]  # it has no file of that name
        return
    else:
        os.truncate(newest / "training.pt", 1 << 40)  # a hole, which takes no room
    store.repair()
    assert [path.name for path in store.complete()] == ["step-00000001"]
    said = capsys.readouterr().err
    assert ("it is of step 2" if spoil == "renamed" else "expected at most") in said


def test_when_all_are_damaged_they_are_named_and_left(tmp_path: Path) -> None:
    store = _saved(tmp_path, 1, 2)
    for path in store.complete():
        (path / "training.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"no checkpoint can be read \(step-00000002/training\.pt: .*step-00000001"):
        store.repair()
    assert [path.name for path in store.complete()] == ["step-00000001", "step-00000002"]


def test_a_changed_bit_anywhere_is_seen_or_harmless(tmp_path: Path) -> None:
    content = _saved(tmp_path, 1).read_newest()
    assert content is not None
    chance, seen = random.Random(0), 0
    for _ in range(200):
        changed = bytearray(content)
        changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        try:
            state = load_state(bytes(changed))
        except ValueError:
            seen += 1
        else:
            assert_same(state, load_state(content))
    assert seen > 100
