"""Ranges of single keys, and what sizes must fulfil together, without building anything."""

from dataclasses import replace

import pytest

from wavedil.config import SIZES, Config, FeatureConfig, ModelConfig, sized_model
from wavedil.features import LogMel
from wavedil.models import build_model
from wavedil.receptive.keyword import config_layers
from wavedil.training.config import config_keys, from_dict, load_config, to_dict
from wavedil.training.sizes import MOST_PARAMETERS, batch_bytes, check_sizes

NUMBERS = {key: hint for key, hint in config_keys().items() if hint in (int, float, float | None)}
LISTS = [key for key, hint in config_keys().items() if hint == list[int]]


def test_every_number_has_both_ends() -> None:
    for key in NUMBERS:
        for value in ("9" * 30, "9" * 400, "-1", "1e308", "nan", "inf"):
            with pytest.raises(ValueError, match=f"^command line: --{key}: expected ") as caught:
                load_config(None, [f"--{key}={value}"])
            assert len(str(caught.value)) < 200


def test_every_list_has_both_ends_and_a_length() -> None:
    for key in LISTS:
        for value in (f"[{10**9}]", "[0]", "[-3]", f"[{'1,' * 2000}]"):
            with pytest.raises(ValueError, match=f"^command line: --{key}.*: expected "):
                load_config(None, [f"--{key}={value}"])


@pytest.mark.parametrize(
    ("model", "key", "said"),
    [
        ("depth = 1000000000", "depth", "from 1 to 24"),
        ("width = 1e308", "width", "at most 1000"),
        ("width = 900.0\nchannels = 100", "width", "at most 65536 channels, got 90,000"),
        ("width = 200.0", "width", "at most 268,435,456 parameters, got"),
        ("channels = 60000", "channels", "at most 268,435,456 parameters, got"),
        ("cycles = 1000", "cycles", "at most 1000 layers in all cycles of model.depth, got 1000 x 4"),
        ("depth = 24\nkernel_size = 4", "depth", "at most 16,777,216 frames, got 25,165,824"),
        ("dilations = [16777216]", "dilations", "at most 16,777,216 frames"),
        ("stage_blocks = [1000, 1]", "stage_blocks", "at most 1000 blocks"),
        ("dilations = [4000000]", "dilations", "a stream that keeps at most 268,435,456 bytes, got 1,024"),
        ("window_ms = 600000.0\nskip_channels = 4000", "depth", "a stream that keeps at most 268,435,456 bytes"),
        ("[model.features]\nn_fft = 65536\nhop_length = 60", "features.n_fft", "at most 1024 times hop_length, 60"),
        (
            "[model.features]\nn_fft = 1048576\nhop_length = 1024\nwin_length = 1024",
            "features.n_mels",
            "at most 16,777,216",
        ),
        ("name = 'raw'\nstem_strides = [2]", "stem_strides", "as many as model.stem_channels, 4, got 1"),
        (
            "name = 'raw'\nstem_strides = [10, 20, 30, 40]",
            "stem_strides",
            "at most data.clip_samples, 16000, got 240000",
        ),
        ("name = 'broadcast'\nstage_blocks = [1]", "stage_blocks", "as many as model.stage_channels, 4, got 1"),
        ("name = 'broadcast'\nbands = 7", "bands", "a divisor of the bins"),
        ("name = 'broadcast'\nchannels = 8\nstage_strides = [2, 1, 1, 1]", "stage_strides", "1 in stage 0"),
        ("[model.features]\nhop_length = 500", "features.hop_length", "at most win_length, 480, got 500"),
        ("[model.features]\nwin_length = 600", "features.win_length", "at most n_fft, 512, got 600"),
        ("[model.features]\nf_max = 9000", "features.f_max", "at most half of data.sample_rate, 8000 Hz, got 9000"),
        ("[model.features]\nf_min = 8000", "features.f_min", "less than f_max, 8000 Hz, got 8000"),
        ("[model.features]\nn_mels = 200", "features.n_mels", "lower it, or raise n_fft"),
        ("[train]\nbatch_size = 1000000\n[augment]\nshift_ms = 60000", "batch_size", "at most 274,877,906,944 bytes"),
    ],
)
def test_sizes_are_refused_by_key_figure_and_limit(tmp_path, model, key, said):
    path = tmp_path / "c.toml"
    path.write_text(f"[model]\n{model}\n")
    with pytest.raises(ValueError, match=r"c\.toml: ") as caught:
        load_config(path)
    assert key in str(caught.value)
    assert said in str(caught.value)


def named(key: str) -> str:
    return f"c.toml: key '{key}'"


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("size", ["XS", "L"])
def test_the_named_sizes_pass_and_are_counted_right(name, size):
    config = Config(model=sized_model(name, size))
    check_sizes(config, named)
    layers = config_layers(config)
    parameters = sum(weight.numel() for weight in build_model(config.model, 35).parameters())
    assert sum(layer.parameters for layer in layers) == parameters < MOST_PARAMETERS
    assert batch_bytes(config, layers) > 4 * config.train.batch_size * config.data.clip_samples


@pytest.mark.parametrize("n_fft", [64, 256])
def test_empty_mel_bands_are_found_where_the_front_end_finds_them(n_fft):
    for n_mels in range(1, 60):
        features = FeatureConfig(n_fft=n_fft, win_length=n_fft, hop_length=n_fft // 2, n_mels=n_mels)
        outcomes = []
        for attempt in (
            lambda features=features: check_sizes(Config(model=ModelConfig(features=features)), named),
            lambda features=features: LogMel(16_000, features),
        ):
            try:
                attempt()
                outcomes.append(True)
            except ValueError:
                outcomes.append(False)
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:1:2", "CPU", "", "auto:1"])
def test_a_device_that_is_none_is_refused(device):
    with pytest.raises(ValueError, match=r"^command line: --train.device: expected one of auto, cpu, cuda, "):
        load_config(None, [f"--train.device={device}"])
    assert load_config(None, ["--train.device=cuda:1"]).train.device == "cuda:1"


def test_text_that_no_file_can_hold_is_refused():
    for key in ("run_dir", "data.root", "data.cache_dir"):
        with pytest.raises(ValueError, match=f"^command line: --{key}: expected text that UTF-8 can hold"):
            load_config(None, [f"--{key}=caf\udce9"])


def test_a_description_from_elsewhere_has_the_same_ranges():
    wide = to_dict(replace(ModelConfig(), cycles=10**9))
    with pytest.raises(ValueError, match=r"^config\.json: key 'model\.cycles': expected an integer from 1 to 1000"):
        from_dict(wide, ModelConfig, origin="config.json", prefix="model.")
