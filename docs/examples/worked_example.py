"""The dilated convolution by hand, and under its other names: run the cells, or the whole file with `python`.

SciPy checks the results; it comes with the extra `dev`.
"""

# %% A square of ones in a 9x9 matrix, and a kernel whose taps can be told apart.
import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.signal import convolve2d
from torch import Tensor
from torch.nn import functional as F

from wavedil.functional import dilated_convolution
from wavedil.receptive.draw.figure import BLUE, VERMILION, new_figure, picture_path, save_figure

matrix = np.zeros((9, 9), dtype=np.int64)
matrix[4:7, 3:6] = 1
kernel = np.arange(1, 10).reshape(3, 3)
print(f"matrix:\n{matrix}\nkernel:\n{kernel}")

# %% Dilation 3 puts two zeros between the taps: the kernel spans 3 (3 - 1) + 1 = 7, and still has nine weights.
dilation = 3
dilated_kernel = np.zeros((7, 7), dtype=np.int64)
dilated_kernel[::dilation, ::dilation] = kernel
print(f"the kernel dilated by {dilation}:\n{dilated_kernel}")

# %% The dilated kernel fits into the matrix at 9 - 7 + 1 = 3 places along each axis: that is the "valid" output. By the
# formula, (F *_l k)(p) = sum over s + l t = p of F(s) k(t), it is laid there upside down and mirrored. Of its columns
# only the middle one ever meets the square; of its rows, 1 2 3 (now the lowest) does for the first output row, 4 5 6
# for the others. The remaining taps find zeros.
output = dilated_convolution(matrix, kernel, dilation)
print(f"the convolution, 'valid':\n{output}")
assert np.array_equal(output, [[2, 2, 2], [5, 5, 5], [5, 5, 5]])

# %% Integers in, integers out: it is the ordinary convolution with the dilated kernel, exactly, at every dilation.
for rate in (1, 2, 3, 4):
    with_zeros = np.zeros((2 * rate + 1, 2 * rate + 1), dtype=np.int64)
    with_zeros[::rate, ::rate] = kernel
    expected = convolve2d(matrix, with_zeros, mode="valid")
    assert np.array_equal(dilated_convolution(matrix, kernel, rate), expected)
    print(f"dilation {rate}: output {expected.shape[0]}x{expected.shape[1]}, equal to SciPy's")

# %% Deep learning's "convolution" is cross-correlation: the kernel is not flipped. `flip=False` is what torch computes,
# and torch with a flipped kernel is the true convolution.
image, weight = torch.from_numpy(matrix)[None, None], torch.from_numpy(kernel)[None, None]
correlation = dilated_convolution(matrix, kernel, dilation, flip=False)
print(f"the cross-correlation:\n{correlation}")
assert np.array_equal(correlation, F.conv2d(image, weight, dilation=dilation)[0, 0].numpy())
assert np.array_equal(output, F.conv2d(image, weight.flip(-2, -1), dilation=dilation)[0, 0].numpy())


# %% TensorFlow calls the operator "atrous": `tf.nn.atrous_conv2d(value, filters, rate, padding)` is documented as
#     output[b, y, x, o] = sum over dy, dx, i of filters[dy, dx, i, o] value[b, y + rate dy, x + rate dx, i]
# So `rate` is the dilation, nothing is flipped, and the channels come last. "VALID" pads nothing. "SAME" pads one zero
# fewer than the dilated kernel spans, half of them before and half behind; where their number is odd, one more behind.
def atrous_conv2d(value: Tensor, filters: Tensor, rate: int, padding: str) -> Tensor:
    """What TensorFlow's function of this name computes.

    Args:
        value: ``(batch, height, width, in_channels)``.
        filters: ``(kernel_height, kernel_width, in_channels, out_channels)``.
        rate: the dilation of both axes.
        padding: "SAME" or "VALID".

    Returns:
        ``(batch, height', width', out_channels)``.
    """
    x, weight = value.permute(0, 3, 1, 2), filters.permute(3, 2, 0, 1)
    if padding == "SAME":
        height, width = (rate * (size - 1) for size in filters.shape[:2])
        x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
    return F.conv2d(x, weight, dilation=rate).permute(0, 2, 3, 1)


value = image.permute(0, 2, 3, 1)
for filters in (kernel, kernel[:2, :2]):  # with an even kernel and an odd rate there is an odd zero
    theirs = atrous_conv2d(value, torch.from_numpy(filters)[:, :, None, None], dilation, "SAME")[0, :, :, 0]
    ours = dilated_convolution(matrix, filters, dilation, mode="same", flip=False)
    assert np.array_equal(ours, theirs.numpy())
print(f'"SAME", with {filters.shape[0]}x{filters.shape[1]} taps at rate {dilation}:\n{ours}')

# %% For an odd kernel torch needs no padding beforehand: `padding=dilation * (kernel_size - 1) // 2` is "SAME". And the
# "algorithme a trous" is another thing: the wavelet transform that is computed with this operator.
centred = F.conv2d(image, weight, padding=dilation, dilation=dilation)[0, 0]
assert np.array_equal(centred.numpy(), dilated_convolution(matrix, kernel, dilation, mode="same", flip=False))

# %% The picture, for whoever asks with `--plot docs/pictures/worked_example.png`: the first, the middle and the last
# place of the kernel. Where a tap meets a one its weight counts; the other ones of the square fall into the holes.
parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
parser.add_argument("--plot", type=picture_path, metavar="FILE", help="picture to save, .png or .svg")
arguments, _ = parser.parse_known_args()


def plot(path: Path) -> None:
    """Draw the kernel at three places of the matrix, and the output that they give."""
    figure = new_figure(12, 3.6)
    *places, result = figure.subplots(1, 4)
    flipped = kernel[::-1, ::-1]
    for axes, place in zip(places, (0, 1, 2), strict=True):
        axes.imshow(matrix, cmap="Greys", vmin=0, vmax=2.5)
        axes.add_patch(Rectangle((place - 0.5, place - 0.5), 7, 7, fill=False, edgecolor=BLUE, linewidth=2))
        met = 0
        for (row, column), weight in np.ndenumerate(flipped):
            y, x = place + dilation * row, place + dilation * column
            met += matrix[y, x] * weight
            colour = VERMILION if matrix[y, x] else BLUE
            axes.text(x, y, str(weight), color=colour, ha="center", va="center", fontsize="large", fontweight="bold")
        axes.set_title(f"output ({place}, {place}) = {met}", fontsize="medium")
        axes.set_xticks(range(9))
        axes.set_yticks(range(9))
    result.imshow(output, cmap="Greys", vmin=0, vmax=2.5 * output.max())
    for (row, column), value in np.ndenumerate(output):
        colour = VERMILION if row == column else "black"
        result.text(column, row, str(value), color=colour, ha="center", va="center", fontsize="large")
    result.set_title("the output, 'valid'", fontsize="medium")
    result.set_xticks(range(3))
    result.set_yticks(range(3))
    save_figure(figure, path)


if arguments.plot:
    from matplotlib.patches import Rectangle

    plot(arguments.plot)
