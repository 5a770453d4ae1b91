"""The published networks of scripts/bench/peers.py against their publications, and the script on a tiny corpus."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tiny import tiny_config, write_corpus
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from wavedil.config import Config, FeatureConfig
from wavedil.data.clips import load_splits
from wavedil.training.config import save_toml
from wavedil.training.distributed import Process

MODULES = ("peers", "peers_networks", "peers_results")
NAMES = ["tcn", "m5", "ds-cnn-s", "ds-cnn-m", "res8", "bc-resnet-1", "bc-resnet-3"]


@pytest.fixture(scope="module")
def peers() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "scripts" / "bench"))
        yield importlib.import_module("peers")
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """One epoch of two steps on clips of a second at 8 kHz, which the published networks need."""
    folder = tmp_path_factory.mktemp("peers")
    (folder / "corpus").mkdir()
    features = {"n_fft": 512, "win_length": 256, "hop_length": 200, "n_mels": 40}
    return tiny_config(
        write_corpus(folder / "corpus"),
        folder / "run",
        data={"clip_samples": 8000},
        model={"features": features},
        train={"epochs": 1, "batch_size": 21},
    )


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def build(peers: ModuleType, name: str, n_classes: int = 12) -> nn.Module:
    return peers.build_peer(name, n_classes, 16_000, FeatureConfig())


def test_all_of_them_are_here(peers: ModuleType) -> None:
    assert list(peers.PEERS) == NAMES


@pytest.mark.parametrize(
    ("name", "n_classes", "unit", "published"),
    [("m5", 35, 1, 26_915), ("res8", 12, 1000, 110), ("bc-resnet-1", 12, 100, 92), ("bc-resnet-3", 12, 100, 542)],
)
def test_parameters_are_as_many_as_published(
    peers: ModuleType, name: str, n_classes: int, unit: int, published: int
) -> None:
    assert round(count(build(peers, name, n_classes)) / unit) == published


@pytest.mark.parametrize(("name", "memory", "operations"), [("ds-cnn-s", 38_600, 5.4e6), ("ds-cnn-m", 189_200, 19.8e6)])
def test_ds_cnn_has_the_published_memory_and_operations(
    peers: ModuleType, name: str, memory: int, operations: float
) -> None:
    """The paper counts the bytes of 8-bit weights, norms folded into biases, and of a layer's input and output."""
    network = peers.PEERS[name].build(10, 12).eval()
    sizes: list[int] = []

    def note(_layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        sizes.append(inputs[0].numel() + output.numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.randn(1, 10, 49))
    gains = sum(layer.weight.numel() for layer in network.modules() if isinstance(layer, nn.BatchNorm2d))
    assert round(count(network) - gains + max(sizes), -2) == memory
    assert counter.get_total_flops() == pytest.approx(operations, rel=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_a_gradient_for_every_parameter(peers: ModuleType, name: str) -> None:
    torch.manual_seed(0)
    model = build(peers, name)
    logits = model.clip_logits(torch.randn(3, 1, 16_000))  # type: ignore[operator]
    assert logits.shape == (3, 12)
    assert model.has_spectrogram == (name != "m5")
    logits.square().sum().backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None, label
        assert parameter.grad.abs().max() > 0, label


def test_the_temporal_network_reads_nothing_ahead(peers: ModuleType) -> None:
    body = build(peers, "tcn").eval().get_submodule("network.body")
    x = torch.randn(1, 40, 50)
    changed = torch.cat([x[..., :30], torch.randn(1, 40, 20)], dim=-1)
    same = (body(x) == body(changed)).all(dim=1)[0]
    assert same[:30].all()
    assert not same[30:].any()


def test_sub_spectral_norm_has_statistics_for_each_range(peers: ModuleType) -> None:
    norm = sys.modules["peers_networks"].SubSpectralNorm(3)
    ranges = torch.arange(10).div(2, rounding_mode="floor")[None, None, :, None]
    x = torch.randn(4, 3, 10, 50) * (1 + ranges) + 100 * ranges
    parts = norm(x).unflatten(2, (5, 2))
    torch.testing.assert_close(parts.mean((0, 3, 4)), torch.zeros(3, 5), atol=1e-3, rtol=0)
    torch.testing.assert_close(parts.var((0, 3, 4), correction=0), torch.ones(3, 5), atol=1e-3, rtol=0)


@pytest.mark.parametrize("family", ["mel", "raw", "broadcast"])
def test_ours_is_the_largest_that_fits(peers: ModuleType, family: str) -> None:
    limit = 60_000
    contender = peers.our_contender(family, limit, Config(), 12)
    size = int(contender.network.name.removeprefix(f"{family}-"))
    larger = peers.build_model(peers.FAMILIES[family](Config().model, size + 1), 12)
    assert count(contender.build()) == contender.network.parameters <= limit < count(larger)


def test_no_model_of_ours_is_small_enough(peers: ModuleType) -> None:
    with pytest.raises(ValueError, match="no 'mel' model has at most 100 parameters: the least is"):
        peers.our_contender("mel", 100, Config(), 12)


def test_the_full_sized_families_are_those_of_the_configs(peers: ModuleType) -> None:
    default = Config().model
    assert peers.FAMILIES["mel"](default, 32) == default
    raw = peers.load_config(Path(__file__).parents[2] / "configs" / "raw.toml").model
    assert peers.FAMILIES["raw"](replace(raw, name="mel", channels=1, skip_channels=1, stem_channels=[1]), 40) == raw


def test_first_weights_follow_from_the_seed_alone(peers: ModuleType, config: Config) -> None:
    splits = load_splits(config.data)
    contender = peers.peer_contender("m5", config, len(splits.labels))
    first, second = (peers.Run(contender, config, splits, Process()).model for _ in range(2))
    for left, right in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.full
def test_the_script_trains_each_pair_and_goes_on_where_it_was_stopped(
    peers: ModuleType,
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_toml(config, tmp_path / "config.toml")
    log = tmp_path / "new" / "runs.jsonl"
    options = ["--config", str(tmp_path / "config.toml"), "--json", str(log), "--ours", "mel"]
    options += ["--networks", "m5", "bc-resnet-1"]
    result, runs = peers.Run.result, []

    def stopped(run: object, *args: object) -> object:
        runs.append(run)
        if len(runs) == 4:
            raise KeyboardInterrupt
        return result(run, *args)

    monkeypatch.setattr(peers.Run, "result", stopped)
    with pytest.raises(KeyboardInterrupt):
        peers.main(options)
    kept = log.read_text()
    assert [json.loads(line)["network"].partition("-")[0] for line in kept.splitlines()] == ["m5", "mel", "bc"]
    peers.main(options)
    assert len(runs) == 5
    assert log.read_text().startswith(kept)
    peers.main([*options, "--epochs", "2"])  # another recipe in the same file
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["epochs"] for row in rows] == [1] * 4 + [2] * 4
    assert len({row["recipe"] for row in rows}) == 2
    assert all(row["clips"] == 24 and 0 <= row["correct"] <= 24 for row in rows)
    table = capsys.readouterr().out
    assert table.count("| m5 (24,835) | mel-") == table.count("| bc-resnet-1 (8,935) | mel-") == 2


def test_tables_show_means_spreads_and_paired_differences(peers: ModuleType) -> None:
    results = sys.modules["peers_results"]
    peer, ours = (
        results.Network("res8", 110_307, 18_000_000, "no"),
        results.Network("mel-32", 109_652, 6_000_000, "yes"),
    )
    log = results.ResultLog(None, "r")
    for network, correct in ((peer, (90, 92)), (ours, (95, 95))):
        for seed, hits in enumerate(correct):
            log.add(results.Result("r", network.name, network.parameters, seed, hits, 100, 7, 1.5))
    [*_, first, second] = results.network_table([peer, ours], log).splitlines()
    assert first == "| res8 | 110,307 | 18.00M | no | 7 | 91.00 ± 1.41 (2) | 83.77 to 95.19 | 1.5 |"
    assert second.startswith("| mel-32 | 109,652 | 6.00M | yes | 7 | 95.00 ± 0.00 (2) |")
    assert results.pair_table([(peer, ours)], log).splitlines()[2:] == [
        "| res8 (110,307) | mel-32 (109,652) | +4.00 ± 1.41 (2) | 2 of 2 |"
    ]


def test_a_line_that_is_no_result_is_named(peers: ModuleType, tmp_path: Path) -> None:
    results = sys.modules["peers_results"]
    good = json.dumps(asdict(results.Result("r", "m5", 1, 0, 1, 2, 3, 4.0)))
    (tmp_path / "log").write_text(f"{good}\n{good[:20]}\n")
    with pytest.raises(ValueError, match="log, line 2: not a result of this script"):
        results.ResultLog(tmp_path / "log", "r")


def test_a_mistake_is_one_line(peers: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"^peers: error: command line: --train.epoch: no such key"):
        peers.main(["--train.epoch", "3"])


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_the_script_runs_on_a_gpu(peers: ModuleType, config: Config, tmp_path: Path, name: str) -> None:
    save_toml(config, tmp_path / "config.toml")
    log = tmp_path / "runs.jsonl"
    options = ["--config", str(tmp_path / "config.toml"), "--ours", "mel", "--train.device", "cuda"]
    options += ["--train.compile", "off"]
    peers.main([*options, "--json", str(log), "--networks", name])
    assert len(log.read_text().splitlines()) == 2
