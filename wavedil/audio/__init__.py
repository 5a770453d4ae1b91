"""Audio as it comes, a file or an array of any rate and channel count, to one waveform at a model's rate."""

from wavedil.audio.load import Audio, Waveform, load_audio
from wavedil.audio.samples import as_samples

__all__ = ["Audio", "Waveform", "as_samples", "load_audio"]
