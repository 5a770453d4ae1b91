"""What a person reads: every line of it says what the answer says."""

import math
from fractions import Fraction

import pytest

from wavedil.receptive import Field, exponential_dilations
from wavedil.receptive.answer import Answer, Axes, Axis, Growth, Row
from wavedil.receptive.chain import answer_for
from wavedil.receptive.description import Geometry, convolution
from wavedil.receptive.stack import stack
from wavedil.receptive.text import table, text


def lines(answer: Answer, **options) -> dict[str, str]:
    """The labelled lines; of two axes, those of time."""
    block = text(answer, layers="none", **options).split("\n\nfrequency")[0].split("\n\nnote")[0]
    starts = [line.strip() for line in block.splitlines()]
    return {line[:16].strip(): line[16:].strip() for line in starts}


def answer_of(field: Field, **options) -> Answer:
    return Answer(Axes(Axis.of(field)), **options)


def test_the_whole():
    answer = stack(3, [2, 2, 2], channels=4, block="gated", sample_rate=8000, framing=(4, 2))
    assert (
        text(answer)
        == """\
receptive field  28 samples  3.5 ms
history          27 samples  3.375 ms
lookahead         0 samples  0 ms
hop               2 samples  0.25 ms
warm-up          26 samples  3.25 ms
output 0 reads   -26 to 1
holes            none, every sample is read
effective width  sigma 5.766 samples, 0.7208 ms, with uniform weights
parameters       372
MACs             168 per sample, 1,344,000 per second
streaming state  50 values, 200 bytes

layer    kind     kernel  stride  dilation  field  hop  lookahead  parameters
framing  framing       4       2         1      4    2          0           0
layer 0  gated         3       1         2     12    2          0         124
layer 1  gated         3       1         2     20    2          0         124
layer 2  gated         3       1         2     28    2          0         124"""
    )


def test_holes_are_listed_as_ranges():
    assert lines(stack(3, [2, 2, 2]))["holes"] == "6 of 13 samples, 53.85% are read: -11, -9, -7, -5, -3, -1"
    assert lines(stack(2, [1, 6]))["holes"] == "4 of 8 samples, 50% are read: -5 to -2"


def test_many_holes_are_shown_without_their_middle():
    answer = stack(2, [3**i for i in range(10)])
    shown = text(answer, layers="none", width=90)
    assert "28,501 of 29,525 samples, 3.468% are read: -29,522, -29,519 to -29,516," in shown
    assert ", ..., " in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 90


def test_one_hole_in_a_million_is_not_rounded_away():
    answer = stack([50_000, 2], [1, 50_001])
    assert lines(answer)["holes"] == "1 of 100,001 samples, 99.99% are read: -50,000"


def test_phases():
    answer = answer_for([convolution("up", Geometry(5, 3, transposed=True))])
    shown = lines(answer)
    assert shown["receptive field"] == "2 samples  (1 at the least, by phase)"
    assert shown["hop"] == "1/3 sample"
    assert "effective width" not in shown


def test_a_phase_with_holes_while_the_widest_has_none():
    """Four taps read every input behind one phase of the two outputs an input, and every other behind the next."""
    upsampled = convolution("up", Geometry(3, 2, transposed=True))
    answer = answer_for([upsampled, convolution("conv", Geometry(4, dilation=4))])
    assert answer.axes.time.taps is not None
    assert [answer.axes.time.taps.positions(p) for p in (0, 1)] == [tuple(range(-1, 7)), (0, 2, 4, 6)]
    assert lines(answer)["holes"] == "none in the widest phase, but one phase reads only 57.14% of its samples"


@pytest.mark.parametrize(
    ("field", "reads", "length", "lookahead"),
    [
        (Field(1, 1, (-math.inf,), (0,)), "all up to 0", "the whole past", "0 samples"),
        (Field(1, 1, (-math.inf,), (math.inf,)), "everything", "everything", "everything"),
        (Field(1, 1, (0,), (math.inf,)), "all from 0", "everything", "everything"),
    ],
)
def test_fields_without_bound_are_said_in_words(field, reads, length, lookahead):
    shown = lines(answer_of(field, state_values=None, state_bytes=None))
    assert shown["receptive field"] == length
    assert shown["lookahead"] == lookahead
    assert shown["output 0 reads"] == reads
    assert shown["holes"] == "not known, the field has no bound"
    assert shown["streaming state"] == "without bound"
    assert "MACs" not in shown


def test_an_output_that_reads_nothing():
    answer = answer_of(Field(2, 1, (0, math.inf), (0, -math.inf)))
    assert lines(answer, output=1)["output 1 reads"] == "nothing"
    assert lines(answer, output=4)["output 4 reads"] == "2 to 2"


def test_the_output_asked_for():
    assert lines(stack(3, [1, 2], strides=2), output=3)["output 3 reads"] == "5 to 15"


def test_two_axes():
    answer = stack((5, 3), [1, 2], bins=10)
    shown = text(answer)
    assert shown.startswith("time\n  receptive field  7 frames\n")
    assert "\n\nfrequency\n  receptive field  13 bins\n" in shown
    assert "  output 0 reads   -6 to 6\n" in shown
    assert "per frame" in shown
    assert shown.splitlines()[-2].split() == ["layer", "1", "conv", "5x3", "1x1", "2x2", "13x7", "1x1", "0", "16"]
    framed = text(stack((5, 3), [1, 2], bins=10, framing=(8, 4)))
    assert framed.startswith("time\n  receptive field  32 samples\n")
    assert framed.splitlines()[-4].split() == ["framing", "framing", "8", "4", "1", "1x8", "1x4", "0", "0"]


def test_long_tables_lose_their_middle_unless_it_is_wanted():
    answer = stack(3, exponential_dilations(10, 10))
    shown = text(answer).split("\n\n")[-1].splitlines()
    assert len(shown) == 1 + 40 + 1
    assert shown[21] == "... 60 more layers ..."
    assert shown[20].split()[:2] == ["layer", "19"]
    assert shown[22].split()[:2] == ["layer", "80"]
    assert len(text(answer, layers="all").split("\n\n")[-1].splitlines()) == 1 + 100
    assert len(table(answer.layers[:41], most=40).splitlines()) == 1 + 40 + 1
    assert len(table(answer.layers[:40], most=40).splitlines()) == 1 + 40


def test_long_names_lose_their_beginning():
    row = Row("encoder.blocks.17.separable.depthwise.convolution", "conv", Growth.of(Field.identity(), 1, 1, 1))
    shown = table([row], width=90).splitlines()
    assert shown[1].startswith("...")
    assert "convolution  conv" in shown[1]
    assert max(map(len, shown)) == 90
    assert row.name in table([row], width=200)


def test_layers_without_a_kernel_and_without_bound():
    unbounded = Row("lstm", "lstm", Growth.of(Field(1, 1, (-math.inf,), (0,)), None, None, None), parameters=1234)
    assert table([unbounded]).splitlines()[1].split() == ["lstm", "lstm", "-", "-", "-", "past", "1", "0", "1,234"]


def test_notes_are_wrapped():
    shown = text(answer_of(Field.identity(), notes=("first " * 30, "second")), width=60)
    assert shown.count("note: ") == 2
    assert max(map(len, shown.splitlines())) <= 60


def test_fractions_of_a_hop():
    answer = answer_of(Field(4, 6, (0,) * 4, (5,) * 4), sample_rate=1000)
    assert lines(answer)["hop"] == "3/2 samples  1.5 ms"
    assert answer.hop == Fraction(3, 2)
