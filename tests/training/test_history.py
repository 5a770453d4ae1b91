from wavedil.training.history import EpochRow


def test_an_epoch_tells_no_accuracy_without_its_interval() -> None:
    row = EpochRow(1, 5, 0.01, 0.7, 0.5, 0.2, 1.0, 1000.0, 2.0)
    assert "validation loss 0.2000, accuracy 100.00% (95% interval 43.85% to 100.00%), 3 of 3 clips;" in row.describe(3)
