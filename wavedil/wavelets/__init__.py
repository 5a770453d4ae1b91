"""The algorithme a trous: undecimated wavelet transforms by dilated filters, centred or streaming."""

from wavedil.wavelets.transform import AtrousWavelet1d, AtrousWavelet2d

__all__ = ["AtrousWavelet1d", "AtrousWavelet2d"]
