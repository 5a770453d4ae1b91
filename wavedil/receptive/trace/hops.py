"""Inputs between outputs that read everything, where the length of the output is rounded to a stride."""

from fractions import Fraction

from wavedil.receptive.trace.lengths import Attempt, attempt, measured_hop

# Most total strides are a power of two or divide this one.
_UNIT = 320


def even_hop(found: Attempt, axis: int) -> Fraction | None:
    """Inputs between outputs along time, from three lengths evenly apart; None where these show no simple hop.

    An encoder and its decoder give as many outputs as whole strides fit the input: the difference of two lengths that
    is no multiple of the stride gives a wrong hop. Of one that is, the output grows by the same again and again.
    """
    rough = found.hops[axis]
    if axis or rough is None or 1 in rough.as_integer_ratio():
        return None
    third = found.lengths[axis] // 3
    for by in (1 << (third.bit_length() - 1), third // _UNIT * _UNIT):
        hop = _hop_of(found, axis, by) if by else None
        if hop is not None and 1 in hop.as_integer_ratio():
            return hop
    return None


def _hop_of(found: Attempt, axis: int, by: int) -> Fraction | None:
    """From lengths that are so far apart; None where they disagree, or the module does not take them."""
    try:
        shorter = [attempt(found.subject.shortened(found.lengths[axis] - n * by)) for n in (1, 2)]
    except ValueError:
        return None
    first, second = measured_hop(shorter[0], found, axis), measured_hop(shorter[1], shorter[0], axis)
    return first if first == second else None
