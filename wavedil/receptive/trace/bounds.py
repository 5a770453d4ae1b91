"""Where a walk gives no more than a bound: what it follows apart may cancel when it is put together again.

A walk knows which inputs a value reads, not what it is. A product with a fixed spectrum, transformed back, is a
convolution with a short kernel; the difference of two running sums is a sum over a window. Both read less than their
parts.
"""

from collections.abc import Iterable, Sequence

from wavedil.receptive.trace.program import Step
from wavedil.receptive.trace.reach import Reach, reaches
from wavedil.receptive.trace.rules.movement import MOVES

_NAMES = """
fft_fft fft_rfft fft_fft2 fft_rfft2 fft_fftn fft_rfftn _fft_r2c stft
fft_ifft fft_irfft fft_ifft2 fft_irfft2 fft_ifftn fft_irfftn _fft_c2r istft
cumsum cumprod logcumsumexp
add sub rsub subtract
mul multiply div divide
"""
_OTHERS = frozenset(
    (
        "neg", "conj", "_conj", "resolve_conj", "real", "imag", "complex", "view_as_real", "view_as_complex", "cat",
        "stack", "constant_pad_nd", "pad", "_to_copy", "to", "clone", "contiguous", "alias", "sum", "mm", "bmm",
        "matmul", "linear", "fft_fftshift", "fft_ifftshift", "index", "slice_scatter", "select_scatter",
    )
)  # fmt: skip
_TRANSFORMS, _INVERSES, _RUNNING, _SUMS, _PRODUCTS = (frozenset(line.split()) for line in _NAMES.strip().splitlines())
# What keeps a linear function linear; of products, with one factor that depends on the input.
_LINEAR = MOVES | _SUMS | _PRODUCTS | _OTHERS


def bound_notes(steps: Sequence[Step]) -> list[str]:
    """What must be said of operators that put together what may cancel; nothing where the walk is exact."""
    spectra: set[int] = set()
    sums: set[int] = set()
    found = []
    for step in steps:
        inputs = reaches(*step.call.values)
        place = f"{step.name} in {step.path or 'the module itself'}"
        inverse = step.name in _INVERSES or (step.name == "_fft_c2c" and not step.call["forward"])
        if inverse and _any(inputs, spectra):
            found.append(
                f"{place} transforms a linear function of a spectrum back, as a convolution by Fourier transform "
                "does: the field is an upper bound"
            )
        elif step.name in _TRANSFORMS or (step.name == "_fft_c2c" and not inverse):
            spectra.add(id(step.output))
        elif step.name in _LINEAR and (len(inputs) == 1 or step.name not in _PRODUCTS):
            if step.name in _SUMS and len(inputs) > 1 and all(id(part) in sums for part in inputs):
                found.append(f"{place} may take running sums from each other: the field is an upper bound")
            spectra |= {id(step.output)} if _any(inputs, spectra) else set()
            sums |= {id(step.output)} if _any(inputs, sums) else set()
        if step.name in _RUNNING:
            sums.add(id(step.output))
    return found


def _any(parts: Iterable[Reach], marked: set[int]) -> bool:
    return any(id(part) in marked for part in parts)
