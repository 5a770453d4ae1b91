import pytest

from wavedil.training.progress import Progress, duration


def test_off_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(100, terminal=False)
    progress.advance(50)
    progress.report("epoch 1/2, step 5/10", loss=0.5, accuracy=0.75)
    progress.say("done")
    progress.close()
    captured = capsys.readouterr()
    first, second = captured.out.splitlines()
    assert first.startswith("epoch 1/2, step 5/10: loss 0.500, accuracy 75.0%, ")
    assert "examples/s" in first
    assert first.endswith("0:00 left")
    assert second == "done"
    assert not captured.err


def test_on_a_terminal_there_is_one_bar(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(100, terminal=True)
    progress.advance(50)
    progress.report("epoch 1/2, step 5/10", loss=0.5, accuracy=0.75)
    progress.say("done")
    progress.close()
    captured = capsys.readouterr()
    assert captured.out.strip() == "done"
    assert "epoch 1/2" in captured.err
    assert "accuracy 75.0%" in captured.err
    assert "step 5/10" not in captured.err


def test_other_processes_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(100, shown=False, terminal=True)
    progress.advance(50)
    progress.report("epoch 1/2", loss=0.5, accuracy=0.75)
    progress.say("done")
    progress.close()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3600, "1:00:00"), (86399, "23:59:59")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
