"""Dilation schedules."""


def exponential_dilations(cycles: int, depth: int, base: int = 2) -> tuple[int, ...]:
    """Dilations 1, base, base^2, ..., base^(depth-1), repeated ``cycles`` times.

    Source: van den Oord 2016, section 2.1, arXiv:1609.03499 (cycles of 1, 2, 4, ..., 512).

    Args:
        cycles: how often the schedule is repeated, at least 1.
        depth: layers in a cycle, at least 1.
        base: growth from one layer to the next, at least 1 (1 gives undilated layers).

    Raises:
        ValueError: if an argument is below 1.

    Example:
        >>> exponential_dilations(2, 4)
        (1, 2, 4, 8, 1, 2, 4, 8)
    """
    for name, value in (("cycles", cycles), ("depth", depth), ("base", base)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    return tuple(base**i for i in range(depth)) * cycles
