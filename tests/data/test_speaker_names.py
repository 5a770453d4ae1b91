"""Who speaks: by the name, by a pattern, by a table; and no speaker is in two splits."""

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples

from wavedil.data.index import folder_index, share_out, split_of
from wavedil.data.speaker_names import known_speakers

NAMES = ["go/0_ann_0.wav", "go/0_bob_0.wav", "stop/1_ann_7.wav"]
SPEAKERS = dict(zip(NAMES, ("ann", "bob", "ann"), strict=True))


def table(tmp_path: Path, content: str, encoding: str = "utf-8") -> str:
    path = tmp_path / "who.csv"
    path.write_bytes(content.encode(encoding))
    return str(path)


def test_a_pattern_with_one_group() -> None:
    assert known_speakers(NAMES, r"_([a-z]+)_\d+\.wav$") == (SPEAKERS, [])
    assert known_speakers(NAMES, "/0_(bob)")[0] == {NAMES[1]: "bob"}
    assert known_speakers(["go/ann_nohash_0.wav", "go/x-bob.wav"], "-([a-z]+)")[0] == {
        "go/ann_nohash_0.wav": "ann",
        "go/x-bob.wav": "bob",
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("header", ["", "path|speaker", "speaker_id|File"])
def test_a_table_of_any_spreadsheet(tmp_path: Path, encoding: str, delimiter: str, end: str, header: str) -> None:
    rows = [list(item) for item in SPEAKERS.items()]
    if header.startswith("speaker"):
        rows = [row[::-1] for row in rows]
    lines = [header.replace("|", delimiter)] * bool(header) + [delimiter.join(row) for row in rows]
    rule = table(tmp_path, end.join([*lines, "", ""]), encoding)
    assert known_speakers(NAMES, rule) == (SPEAKERS, [])


def test_a_table_may_name_files_in_other_ways(tmp_path: Path) -> None:
    rule = table(tmp_path, 'go\\0_ann_0.WAV,ann\n"./go/0_bob_0.wav", bob\n1_ann_7.flac,ann\n')
    assert known_speakers(NAMES, rule) == (SPEAKERS, [])


def test_lines_of_a_table_that_name_nothing_are_counted(tmp_path: Path) -> None:
    rule = table(tmp_path, "go/0_ann_0.wav,ann\nno/1.wav,eve\nno/2.wav,eve\n")
    assert known_speakers(NAMES, rule)[1] == [f"{rule}: 2 of 3 lines name no recording (no/1, no/2)"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("([a-z", "expected a regular expression with one group .* got '\\(\\[a-z'"),
        ("[a-z]+", "got 0 groups in"),
        ("(a)(b)", "got 2 groups in"),
        ("_(eve)_", "names the speaker of no recording; they are named like go/0_ann_0.wav"),
        ("nowhere.csv", "nowhere.csv: no such table"),
    ],
)
def test_a_rule_that_tells_nothing_is_refused(rule: str, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=f"^data.speaker: .*{message}"):
        known_speakers(NAMES, rule)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected lines of file,speaker, got none"),
        ("go/0.wav,ann\ngo/1.wav\n", "line 2: expected a file and its speaker, got 'go/1.wav'"),
        ("go/0.wav,ann\n\ngo/0.wav,bob\n", "line 3: expected one speaker for 'go/0.wav', got 'bob'; line 1 says 'ann'"),
        ('go/0.wav,"' + "a" * 200_000, "line 1: expected file,speaker .*field larger"),
    ],
)
def test_a_broken_table_is_named_by_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"who\.csv: {message}"):
        known_speakers(NAMES, table(tmp_path, content))


@settings(max_examples=examples(30))
@given(st.sets(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=6), min_size=3, max_size=60))
def test_no_split_is_left_empty(units: set[str]) -> None:
    splits = share_out(units)
    assert splits.keys() == units
    assert set(splits.values()) == {"training", "validation", "testing"}
    by_hash = {unit: split_of(Path(f"{unit}.wav")) for unit in units}
    assert splits == by_hash or len(set(by_hash.values())) < 3


@settings(max_examples=examples(20))
@given(
    takes=st.dictionaries(st.text("abcdefg", min_size=1, max_size=3), st.integers(1, 3), min_size=3, max_size=25),
    as_table=st.booleans(),
)
def test_no_speaker_is_in_two_splits(
    tmp_path_factory: pytest.TempPathFactory, takes: dict[str, int], as_table: bool
) -> None:
    root = tmp_path_factory.mktemp("speakers")
    rows = []
    for speaker, count in takes.items():
        for take in range(count):
            path = root / ("go", "stop")[take % 2] / f"{take}-{speaker}-x.wav"
            path.parent.mkdir(exist_ok=True)
            path.touch()
            rows.append(f"{path.relative_to(root)};{speaker}\n")
    (root / "who.csv").write_text("".join(rows))
    index = folder_index(root, speaker=str(root / "who.csv") if as_table else "-([a-g]+)-")
    splits = defaultdict(set)
    for clip in index.clips:
        assert clip.speaker == clip.path.name.split("-")[1]
        splits[clip.speaker].add(clip.split)
    assert all(len(found) == 1 for found in splits.values())
    assert len(index.clips) == sum(takes.values())


def test_without_a_speaker_it_is_said_once_that_the_split_is_by_file(tmp_path: Path) -> None:
    (tmp_path / "go").mkdir()
    for number in range(30):
        (tmp_path / "go" / f"{number}.wav").touch()
    [note] = [note for note in folder_index(tmp_path).split_notes if "by file" in note]
    assert "data.speaker" in note
    (tmp_path / "go" / "ann_nohash_0.wav").touch()
    [note] = [note for note in folder_index(tmp_path).split_notes if "by file" in note]
    assert "30 of 31 recordings (go/0.wav, go/1.wav, go/10.wav, ...)" in note
    assert not [note for note in folder_index(tmp_path, speaker="/([a-z0-9]+)").notes if "by file" in note]


def test_a_home_that_nobody_has_is_a_name() -> None:
    with pytest.raises(FileNotFoundError, match=r"~nobody-at-all/speakers\.csv"):
        known_speakers(["go/0.wav"], "~nobody-at-all/speakers.csv")
    with pytest.raises(FileNotFoundError, match="~nobody-at-all/words: no such folder"):
        folder_index("~nobody-at-all/words")
