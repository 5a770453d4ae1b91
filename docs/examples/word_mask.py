"""Word-activity masks: which frames and bins of a spectrogram belong to a spoken word, and what context is worth there.

    python docs/examples/word_mask.py --plot docs/pictures/word_mask.png

Five small networks learn the same scenes: the context module of Yu and Koltun, the same undilated, the same with two
poolings, ASPP with about as many weights, and the context module causal, which streams frame by frame. What they score
on voices that they have not heard is printed as a Markdown table. To adapt it, give ``Scenes`` other clips or
``network`` another body.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from word_mask_picture import save_masks
from word_scenes import FEATURES, FRAMES, SAMPLE_RATE, Batch, Scenes, corpus_scenes

import wavedil
from wavedil.layers import CausalConv2d, Chain, ImagePool
from wavedil.models import ASPPv3, ContextModule
from wavedil.receptive.draw.figure import new_figure, picture_path

CHANNELS = 16
BATCH = 8
LEARNING_RATE = 5e-3
POSITIVE_WEIGHT = 2.0  # the few bins with speech count double
BASELINE = "undilated"
_TRAINING, _TESTING = 0, 1  # second number of a scene's key
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # Student's, 97.5%, 1 to 9 degrees of freedom


def network(name: str) -> nn.Module:
    """A network from features ``(batch, 1, bins, frames)`` to logits of the same shape; initialised by torch's seed.

    Raises:
        ValueError: if there is no such network.
    """
    if name not in BODIES:
        raise ValueError(f"network must be one of {', '.join(BODIES)}, got {name!r}")
    # These first, so that networks of one seed differ in their bodies alone.
    lift = CausalConv2d(1, CHANNELS, 3, lookahead=0 if name == "causal-context" else 1)
    out = CausalConv2d(CHANNELS, 1, 1)
    body = BODIES[name]()
    chain = Chain if isinstance(body, ContextModule) else nn.Sequential  # a chain streams
    return chain(lift, nn.ReLU(), body, out)


def context(*, causal: bool = False) -> nn.Module:
    """Seven 3x3 convolutions of dilations 1, 1, 2, 4, 8, 16, 1 and a 1x1, which begin as the identity."""
    return ContextModule(CHANNELS, causal=causal)


def undilated() -> nn.Module:
    """The layers of the context module, all of dilation 1."""
    return _row(*_convolutions(7), nn.Conv2d(CHANNELS, CHANNELS, 1))


def pooled() -> nn.Module:
    """The same, with a maximum over 2x2 behind the third and the fifth layer, brought back to all bins in the end."""
    coarse = [*_convolutions(3), nn.MaxPool2d(2), *_convolutions(2), nn.MaxPool2d(2), *_convolutions(2)]
    enlarge = nn.Upsample(scale_factor=4, mode="bilinear")
    return _row(*coarse, enlarge, nn.Conv2d(CHANNELS, CHANNELS, 1))


def aspp() -> nn.Module:
    """Three convolutions and the pyramid of DeepLab v3, whose image pooling reads the whole scene."""
    return nn.Sequential(_row(*_convolutions(3)), ASPPv3(CHANNELS, CHANNELS))


BODIES: dict[str, Callable[[], nn.Module]] = {
    "context": context,
    "undilated": undilated,
    "pooled": pooled,
    "aspp": aspp,
    "causal-context": lambda: context(causal=True),
}


def _convolutions(count: int) -> list[nn.Module]:
    return [layer for _ in range(count) for layer in (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU())]


def _row(*layers: nn.Module) -> nn.Sequential:
    """Layers in a row, initialised as He et al. 2015, arXiv:1502.01852: of what was tried, the best for them."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
    return nn.Sequential(*layers)


def intersection_over_union(mask: Tensor, target: Tensor) -> Tensor:
    """Bins in both masks over bins in either, for each scene; 1 where both are empty.

    Args:
        mask: ``(batch, ...)`` bool.
        target: likewise.

    Returns:
        ``(batch,)``.
    """
    both, either = (m.flatten(1).sum(1) for m in (mask & target, mask | target))
    return torch.where(either > 0, both / either.clamp_min(1), 1.0)


@dataclass
class Learner:
    """A network in training.

    Attributes:
        network: from :func:`network`.
        seconds: of processor time that its steps took, on all cores together.
    """

    network: nn.Module
    seconds: float = 0.0

    def __post_init__(self) -> None:
        # Faster on a CPU; torch's types leave the argument out.
        self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._optimiser = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE)

    def learn(self, batch: Batch, rate: float) -> float:
        """One step at a share of the learning rate; returns the loss."""
        begin = time.process_time()
        self._optimiser.param_groups[0]["lr"] = LEARNING_RATE * rate
        logits = self.network(batch.features)
        weight = torch.tensor(POSITIVE_WEIGHT)
        loss = F.binary_cross_entropy_with_logits(logits, batch.target.float(), pos_weight=weight)
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        self.seconds += time.process_time() - begin
        return loss.item()


def train(names: Sequence[str], scenes: Scenes, steps: int, seed: int) -> dict[str, Learner]:
    """Train networks side by side: all see the same scenes. The rate warms up, then falls as a cosine."""
    learners = {}
    for name in names:
        torch.manual_seed(seed)
        learners[name] = Learner(network(name))
    for step in range(steps):
        batch = scenes.batch(BATCH, seed, _TRAINING, step)
        rate = min((step + 1) / 25, 1.0) * 0.5 * (1 + math.cos(math.pi * step / steps))
        losses = {name: learner.learn(batch, rate) for name, learner in learners.items()}
        if (step + 1) % 50 == 0 or step + 1 == steps:
            shown = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
            print(f"seed {seed}, step {step + 1} of {steps}: loss {shown}", file=sys.stderr)
    for learner in learners.values():
        learner.network.eval()
    return learners


@torch.no_grad()
def predict(network: nn.Module, batch: Batch) -> Tensor:
    """The mask ``(batch, 1, bins, frames)`` that a network gives: bins more likely speech than not."""
    return network(batch.features) > 0


@dataclass
class Scores:
    """What a network scored, a number for each seed.

    Attributes:
        clips: intersection over union, mean over the scenes.
        bins: intersection over union of the bins of all scenes together.
        seconds: of processor time in training.
    """

    clips: list[float] = field(default_factory=list)
    bins: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, learner: Learner, batches: Sequence[Batch]) -> None:
        """Score a trained network."""
        masks = torch.cat([predict(learner.network, batch) for batch in batches])
        targets = torch.cat([batch.target for batch in batches])
        self.clips.append(intersection_over_union(masks, targets).mean().item())
        self.bins.append(intersection_over_union(masks.flatten()[None], targets.flatten()[None]).item())
        self.seconds.append(learner.seconds)


def interval(values: Sequence[float], sign: str = "") -> str:
    """Mean and 95% interval (Student's t over the seeds), or the mean alone of one seed; with sign "+" both signed."""
    mean = statistics.fmean(values)
    ends = []
    if len(values) > 1:
        half = _T[len(values) - 2] * statistics.stdev(values) / math.sqrt(len(values))
        ends = [f"{end:{sign}.3f}" for end in (mean - half, mean + half)]
    return f"{mean:{sign}.3f}" + (f" ({' to '.join(ends)})" if ends else "")


def field_text(module: nn.Module) -> str:
    """The receptive field of a network, in ms and bins."""
    if any(isinstance(layer, ImagePool) for layer in module.modules()):
        return "the whole scene"
    axes = wavedil.receptive_field(module, torch.zeros(1, 1, FEATURES.n_mels, FRAMES)).axes
    frames, bins = axes["time"].receptive_field, axes["frequency"].receptive_field
    hop_ms = FEATURES.hop_length * 1000 / SAMPLE_RATE
    return f"{(frames or math.inf) * hop_ms:.0f} ms x {bins} bins"


def table(scores: dict[str, Scores]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| network | parameters | receptive field | IoU, mean over clips (95%) | less the undilated one's (95%) "
        "| IoU, all bins (95%) | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, score in scores.items():
        module = network(name).eval()
        gain = ""
        if name != BASELINE and BASELINE in scores:
            gain = interval([a - b for a, b in zip(score.clips, scores[BASELINE].clips, strict=True)], "+")
        cells = (name, f"{sum(p.numel() for p in module.parameters()):,}", field_text(module), interval(score.clips))
        cells += (gain, interval(score.bins), f"{statistics.fmean(score.seconds):.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(path: Path, learners: dict[str, Learner], batches: Sequence[Batch]) -> None:
    """Draw the test scene on which the context module gains what it typically does: the median over the scenes."""
    mixed = Batch(torch.cat([b.features for b in batches]), torch.cat([b.target for b in batches]))
    masks = {name: predict(learners[name].network, mixed) for name in (BASELINE, "context")}
    scores = {name: intersection_over_union(mask, mixed.target) for name, mask in masks.items()}
    gain = scores["context"] - scores[BASELINE]
    scene = int(gain.argsort()[len(gain) // 2])
    titled = {f"{name}: IoU {scores[name][scene]:.2f}": mask[scene, 0] for name, mask in masks.items()}
    save_masks(path, mixed.features[scene, 0], mixed.target[scene, 0], titled)


def main() -> None:
    """Train, score, print and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=BODIES, default=list(BODIES), metavar="NAME")
    parser.add_argument("--seeds", type=int, choices=range(1, len(_T) + 2), default=3, metavar="N", help="%(default)s")
    parser.add_argument("--steps", type=int, default=600, metavar="N", help="of training (%(default)s)")
    parser.add_argument("--test-batches", type=int, default=30, metavar="N", help=f"of {BATCH} scenes (%(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture of a test scene: .png or .svg")
    args = parser.parse_args()
    if args.plot:
        args.plot = picture_path(args.plot)
        if not {"context", BASELINE} <= set(args.networks):
            parser.error(f"--plot needs the networks context and {BASELINE}")
        new_figure(1, 1)  # a missing matplotlib is told before the training
    training, testing = corpus_scenes("training"), corpus_scenes("testing")
    scores = {name: Scores() for name in args.networks}
    for seed in range(args.seeds):
        learners = train(args.networks, training, args.steps, seed)
        batches = [testing.batch(BATCH, seed, _TESTING, i) for i in range(args.test_batches)]
        for name, learner in learners.items():
            scores[name].add(learner, batches)
            print(f"seed {seed}: IoU of {name} {scores[name].clips[-1]:.3f}", file=sys.stderr)
        if args.plot and seed == 0:
            draw(args.plot, learners, batches)
    print(table(scores))


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as missing:  # an extra; the message names it
        sys.exit(str(missing))
