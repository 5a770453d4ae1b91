"""Where the data of a config lie, and whether they are there: told at once, without torch."""

from pathlib import Path

from wavedil.config import DataConfig
from wavedil.data.speaker_names import check_rule
from wavedil.data.speech_commands import dataset_folder
from wavedil.files import in_home
from wavedil.folders import cache_root


def source_root(config: DataConfig) -> Path:
    """The folder of the config's source; that of a corpus or a download need not be there yet.

    Raises:
        ValueError: if a folder of words is not named.
    """
    if config.source == "synthetic":
        from wavedil.data.synthetic import corpus_root  # only this source needs the speech synthesiser

        return corpus_root(config)
    if config.root is not None:
        return in_home(config.root)
    if config.source == "speech_commands":
        return cache_root(config.cache_dir) / "speech_commands"
    raise ValueError('data.root: source = "folder" needs the folder of <word>/<recording>')


def require_source(config: DataConfig) -> None:
    """Refuse data that are not there, and can be neither made nor downloaded; and a rule for speakers that is none.

    Raises:
        FileExistsError: if a synthetic corpus is to be made in a folder with something else in it.
        FileNotFoundError: if there is no such folder.
        ModuleNotFoundError: if a synthetic corpus is to be made without espeak-ng.
        ValueError: if the config names no folder, or its ``speaker`` is no rule.
    """
    check_speaker(config)
    root = source_root(config)
    if config.source == "synthetic":
        from wavedil.data.synthetic import require_corpus

        require_corpus(root)
    elif config.source == "folder":
        require_folder(root)
    elif not config.download:
        dataset_folder(root, config.version)


def check_speaker(config: DataConfig) -> None:
    """Refuse a rule for speakers that is none, or that the source has no use for.

    Raises:
        FileNotFoundError: if it is a table that is not there.
        ValueError: if it is neither a pattern with one group nor a table.
    """
    if config.speaker is None:
        return
    if config.source != "folder":
        raise ValueError(f'data.speaker: goes with source = "folder"; the names and lists of {config.source} tell it')
    check_rule(config.speaker)


def require_folder(root: str | Path) -> None:
    """Refuse a folder of words that is not there.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    if not in_home(root).is_dir():
        raise FileNotFoundError(f"{root}: no such folder; expected one of <word>/<recording>")
