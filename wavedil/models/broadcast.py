"""The body of the spectrogram keyword model: broadcast residual blocks, causal in time."""

from torch import nn

from wavedil.config import ModelConfig
from wavedil.layers import BatchNorm1d, BatchNorm2d, CausalConv2d, Chain
from wavedil.layers.broadcast import BroadcastResidualBlock, FrequencyMean
from wavedil.models.entry import AsSpectrogram


def broadcast_body(config: ModelConfig) -> Chain:
    """From log-mel frames to features for the classifier, ``(batch, skip_channels, frames)``.

    Source: BC-ResNet, Kim et al. 2021, arXiv:2106.04140, whose convolutions are centred in time; here all are causal.

    Args:
        config: the stages; its width is multiplied in already.

    Raises:
        ValueError: if the stages' lists are not equally long, or their bins cannot be divided into the bands.
    """
    stages = (config.stage_channels, config.stage_blocks, config.stage_dilations, config.stage_strides)
    if not config.stage_channels or len({len(values) for values in stages}) > 1:
        lengths = ", ".join(str(len(values)) for values in stages)
        raise ValueError(
            f"expected as many stage_channels as stage_blocks, stage_dilations and stage_strides, got {lengths}"
        )
    bands, before = config.features.n_mels, config.channels
    entry = CausalConv2d(1, before, 5, (2, 1), bias=False)
    layers: list[nn.Module] = [BatchNorm1d(bands), AsSpectrogram(), entry, BatchNorm2d(before), nn.ReLU()]
    shape = entry.output_shape((1, bands))
    for channels, blocks, dilation, stride in zip(*stages, strict=True):
        for block in range(blocks):
            options = {"bands": config.bands, "dropout": config.dropout}
            stride = stride if block == 0 else 1
            made = BroadcastResidualBlock(before, channels, dilation, frequency_stride=stride, **options)
            layers.append(made)
            shape, before = made.output_shape(shape), channels
            if shape[-1] % config.bands:
                raise ValueError(
                    f"bands must divide the bins of every stage: {config.bands} does not divide {shape[-1]} "
                    f"(n_mels {config.features.n_mels}, stage_strides {config.stage_strides})"
                )
    out = config.skip_channels
    layers += [
        CausalConv2d(before, before, (shape[-1], 5), groups=before, frequency_padding="valid", bias=False),
        CausalConv2d(before, out, 1, bias=False),
        BatchNorm2d(out),
        nn.ReLU(),
        FrequencyMean(),  # of the one bin that is left
    ]
    return Chain(*layers)
