"""Turn the recordings below a folder into WAV in place, as Speech Commands has them: who decodes them at each epoch, as
the loop of the tutorials does, should not pay for an archive's being small.

python scripts/bench/as_wav.py FOLDER
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile

from wavedil.data.listing import AUDIO_SUFFIXES


def main(folder: Path) -> None:
    """Transcode what is not WAV yet, and say how much that was."""
    paths = [path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES - {".wav"}]
    with ThreadPoolExecutor() as pool:
        list(pool.map(transcode, paths))
    print(f"{folder}: {len(paths)} recordings are WAV now")


def transcode(path: Path) -> None:
    """Write 16-bit WAV beside a recording, and remove the recording."""
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path.with_suffix(".wav"), samples, rate, subtype="PCM_16")
    path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
