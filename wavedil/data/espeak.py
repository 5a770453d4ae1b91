"""The espeak-ng speech synthesiser, through ctypes: text in, PCM out.

Library and voices come from the package ``espeakng-loader``. Source of the interface: espeak-ng's speak_lib.h.
"""

import ctypes
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 22_050
"""Of all audio that espeak-ng produces, in Hz."""

# Constants of speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4

_BUFFER_MS = 1000
_FIRST_VOICE = "gmw/en"  # the library's own, which it loses where it is initialised again
# Full volume of the louder voices overflows 16 bits, which espeak-ng answers with a gain that changes within the word.
_UNCLIPPED_VOLUME = 25

_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def data_path() -> Path:
    """The folder ``espeak-ng-data`` of the installed voices.

    Raises:
        ModuleNotFoundError: if espeakng-loader is not installed; the message says how to get it.
    """
    return Path(_loader().get_data_path())


class Espeak:
    """The synthesiser, of which a process has one: voice and pitch are state of the library itself.

    The waveform of a word depends, slightly, on all that was spoken before it in the process (the phase of the pitch
    flutter is never reset). What has to be reproducible is therefore spoken in a process of its own, in a fixed order.

    Args:
        data: the folder ``espeak-ng-data``; None takes the installed one. espeak-ng cuts paths at 160 characters, so a
            longer one has to be given relative to the current folder.

    Raises:
        ModuleNotFoundError: if espeakng-loader is not installed.
        RuntimeError: if the library cannot be loaded or the voices not be read.

    Example:
        >>> waveform = Espeak().speak("seven")
        >>> waveform.dtype, 0.2 * SAMPLE_RATE < len(waveform) < 0.9 * SAMPLE_RATE
        (dtype('int16'), True)
    """

    def __init__(self, data: Path | None = None) -> None:
        data = self._data = data_path() if data is None else data
        self._library = _load_library()
        self._blocks: list[bytes] = []
        sample_rate = -1
        if data.is_dir() and len(str(data)) < 140:  # else the library complains on stderr
            options = (_AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, str(data).encode(), _INITIALIZE_DONT_EXIT)
            sample_rate = self._library.espeak_Initialize(*options)
        if sample_rate != SAMPLE_RATE:
            raise RuntimeError(f"espeak-ng cannot read its voices in {data}: no such folder, or a path too long for it")
        self._library.espeak_ng_SetRandSeed(0)  # of breath noise; the library takes the time of day
        self._callback = _SynthCallback(self._collect)  # kept: ctypes does not hold on to it
        self.set_voice(_FIRST_VOICE)

    def set_voice(self, accent: str, variant: str | None = None) -> None:
        """Choose an accent, such as ``gmw/en-US``, and a variant of it, such as ``f3``.

        Raises:
            ValueError: if there is no such voice.
        """
        name = accent if variant is None else f"{accent}+{variant}"
        # An unknown variant is no error to the library: it takes the plain accent.
        known = variant is None or (self._data / "voices" / "!v" / variant).is_file()
        if not known or self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {name!r}")

    def speak(self, text: str, rate: int = 175, pitch: int = 50, pitch_range: int = 50) -> NDArray[np.int16]:
        """Speak a text with the current voice.

        Args:
            text: what to say; its punctuation sets the intonation.
            rate: words a minute, 80 to 450.
            pitch: 0 to 99, where 50 is the voice's own.
            pitch_range: 0 (monotone) to 99, where 50 is the voice's own.

        Returns:
            The waveform ``(time,)`` at 22,050 Hz.

        Raises:
            RuntimeError: if the synthesis fails.
        """
        self._blocks.clear()
        self._library.espeak_SetSynthCallback(self._callback)  # the library has one, which may be another synthesiser's
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range), (_VOLUME, _UNCLIPPED_VOLUME)):
            self._library.espeak_SetParameter(parameter, value, 0)
        encoded = text.encode() + b"\0"
        status = self._library.espeak_Synth(encoded, len(encoded), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        if status != 0:
            raise RuntimeError(f"espeak-ng failed to speak {text!r} (status {status})")
        return np.frombuffer(b"".join(self._blocks), dtype=np.int16)

    def _collect(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._blocks.append(ctypes.string_at(samples, 2 * count))
        return 0  # go on


def _loader() -> ModuleType:
    try:
        import espeakng_loader
    except ModuleNotFoundError as error:
        message = 'the synthetic corpus needs espeak-ng, which is not installed: pip install "wavedil[demo]"'
        raise ModuleNotFoundError(message, name=error.name) from error
    return espeakng_loader


def _load_library() -> ctypes.CDLL:
    path = _loader().get_library_path()
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise RuntimeError(f"cannot load the espeak-ng library {path}: {error}") from error
    library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_SetSynthCallback.argtypes = [_SynthCallback]
    library.espeak_SetSynthCallback.restype = None
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    return library
