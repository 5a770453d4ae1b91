import pytest
import torch

from wavedil.training.readback import Readback


def test_a_tensor_on_the_host_is_there_at_once_and_once() -> None:
    readback, tensor = Readback(), torch.tensor([1.0, 2.5])
    assert readback.take() is None
    readback.ask(tensor, "step 1")
    tensor.zero_()  # what was asked for is the tensor as it was
    assert readback.take() == ([1.0, 2.5], "step 1")
    assert readback.take() is None


def test_a_later_question_replaces_one_that_was_not_taken() -> None:
    readback = Readback()
    readback.ask(torch.zeros(1), "old")
    readback.ask(torch.ones(1), "new")
    assert readback.take(wait=True) == ([1.0], "new")


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_a_tensor_on_the_device_comes_without_waiting() -> None:
    readback, tensor = Readback(), torch.ones(2, device="cuda")
    torch.cuda.synchronize()
    try:
        torch.cuda.set_sync_debug_mode("error")
        torch.cuda._sleep(200_000_000)  # cycles, about a tenth of a second
        readback.ask(tensor, "step 1")
        assert readback.take() is None
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert readback.take(wait=True) == ([1.0, 1.0], "step 1")
