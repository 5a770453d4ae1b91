"""The invented speakers of the synthetic corpus: a voice, a manner of speaking and a recording channel each."""

import hashlib
from dataclasses import dataclass

import numpy as np

from wavedil.data.index import Split

# fmt: off
ACCENTS = (
    "gmw/en", "gmw/en-US", "gmw/en-US-nyc", "gmw/en-029", "gmw/en-GB-scotland", "gmw/en-GB-x-gbclan",
    "gmw/en-GB-x-gbcwmd", "gmw/en-GB-x-rp",
)
"""espeak-ng's English: British, American, New York, Caribbean, Scottish, Lancaster, West Midlands, RP."""

# Variants of them that could be a person. Left out: robots, whispers, the Klatt synthesiser, variants whose formants no
# throat could have (one of the first three missing, or moved by a quarter against the others), and all but one of those
# that share their formants, so that no voice is heard in two splits under two names.
LOW_VARIANTS = (
    "Alex", "Denis", "Gene", "antonio", "croak", "ed", "iven", "john", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8",
    "max", "michel", "pablo", "paul", "pedro", "quincy", "robert", "victor",
)
HIGH_VARIANTS = ("Andrea", "Annie", "anika", "f1", "f2", "f3", "f4", "linda")
# fmt: on

# Of every ten speakers the second is for validation and the third for testing, so that three speakers fill every
# split and a larger corpus begins with the speakers of a smaller one.
_SPLIT_OF_TEN: tuple[Split, ...] = ("training", "validation", "testing") + 7 * ("training",)

MINIMUM_SPEAKERS = 3


@dataclass(frozen=True)
class Speaker:
    """One speaker and the room and microphone in which all their words are recorded.

    Attributes:
        id: eight hexadecimal digits.
        index: position in the corpus.
        split: where all clips of this speaker go.
        accent: espeak-ng's voice.
        variant: espeak-ng's variant of it, which is heard in one split only.
        rate: words a minute.
        pitch: 0 to 99, where 50 is the variant's own.
        pitch_range: 0 (monotone) to 99.
        vocal_tract: factor on all frequencies, formants and pitch alike.
        level_db: of the speech, in dB below full scale (RMS).
        snr_db: signal-to-noise ratio of the recording.
        noise_slope: exponent of the noise's power spectrum, 0 (white) to 2 (brown).
        tilt_db: slope of the channel in dB an octave, around 1 kHz.
        high_pass: of the microphone in Hz.
        low_pass: likewise.
        resonances: bumps of the channel: centre in Hz, width in octaves, gain in dB.
        reflections: early echoes of the room: delay in seconds, gain.
    """

    id: str
    index: int
    split: Split
    accent: str
    variant: str
    rate: float
    pitch: float
    pitch_range: float
    vocal_tract: float
    level_db: float
    snr_db: float
    noise_slope: float
    tilt_db: float
    high_pass: float
    low_pass: float
    resonances: tuple[tuple[float, float, float], ...]
    reflections: tuple[tuple[float, float], ...]


def draw_speakers(count: int, seed: int) -> list[Speaker]:
    """Invent ``count`` speakers, reproducibly; the first speakers are the same whatever the count.

    Raises:
        ValueError: if there are too few for the three splits.

    Example:
        >>> [speaker.split for speaker in draw_speakers(4, seed=0)]
        ['training', 'validation', 'testing', 'training']
    """
    if count < MINIMUM_SPEAKERS:
        raise ValueError(f"speakers: expected at least {MINIMUM_SPEAKERS}, one a split, got {count}")
    variants = _variants_of_splits(seed)
    taken = dict.fromkeys(variants, 0)
    speakers = []
    for index in range(count):
        split = _SPLIT_OF_TEN[index % 10]
        accent, variant = _voice(variants[split], taken[split], seed)
        taken[split] += 1
        speakers.append(_draw_speaker(index, split, accent, variant, seed))
    return speakers


def _variants_of_splits(seed: int) -> dict[Split, list[str]]:
    """Deal the variants out: an eighth of the low and of the high ones to validation, as many to testing."""
    rng = np.random.default_rng([seed, 0])
    variants: dict[Split, list[str]] = {"training": [], "validation": [], "testing": []}
    for group in (LOW_VARIANTS, HIGH_VARIANTS):
        shuffled = [group[i] for i in rng.permutation(len(group))]
        share = len(group) // 8
        variants["validation"] += shuffled[:share]
        variants["testing"] += shuffled[share : 2 * share]
        variants["training"] += shuffled[2 * share :]
    return {split: [names[i] for i in rng.permutation(len(names))] for split, names in variants.items()}


def _voice(variants: list[str], number: int, seed: int) -> tuple[str, str]:
    """The accent and variant of a split's speaker ``number``: every variant once before any comes again, with another
    accent; so no combination comes twice before all have been used.
    """
    cycle, position = divmod(number, len(variants))
    first_accent = int(np.random.default_rng([seed, 1, position]).integers(len(ACCENTS)))
    return ACCENTS[(first_accent + cycle) % len(ACCENTS)], variants[position]


def _draw_speaker(index: int, split: Split, accent: str, variant: str, seed: int) -> Speaker:
    rng = np.random.default_rng([seed, 2, index])
    resonances = tuple(
        (float(200 * 2 ** rng.uniform(0, 5)), float(rng.uniform(0.3, 1.0)), float(rng.uniform(-6, 6))) for _ in range(3)
    )
    reflections = tuple((float(rng.uniform(0.002, 0.03)), float(rng.uniform(-0.3, 0.3))) for _ in range(3))
    return Speaker(
        id=hashlib.sha256(f"wavedil speaker {seed} {index}".encode()).hexdigest()[:8],
        index=index,
        split=split,
        accent=accent,
        variant=variant,
        rate=float(rng.uniform(125, 215)),
        pitch=float(rng.uniform(30, 70)),
        pitch_range=float(rng.uniform(20, 90)),
        # The longest is a tall man's; the low variants' shortest is about a woman's.
        vocal_tract=float(rng.uniform(0.93, 1.18 if variant in LOW_VARIANTS else 1.06)),
        level_db=float(rng.uniform(-32, -16)),
        snr_db=float(rng.uniform(15, 45)),
        noise_slope=float(rng.uniform(0, 2)),
        tilt_db=float(rng.uniform(-3, 3)),
        high_pass=float(rng.uniform(50, 250)),
        low_pass=float(rng.uniform(4500, 7800)),
        resonances=resonances,
        reflections=reflections,
    )
