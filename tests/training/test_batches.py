import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavedil.data.clips import ClipSet
from wavedil.training.batches import BatchOrder
from wavedil.training.distributed import Process
from wavedil.training.seeds import derive_generator, derive_seed


def _clips(n: int) -> ClipSet:
    none = torch.zeros(0, dtype=torch.int64)
    return ClipSet(
        torch.zeros(n, 4, dtype=torch.int16), torch.zeros(n, dtype=torch.int64), ["x"] * n, torch.arange(n), none
    )


@given(n=st.integers(1, 200), batch=st.integers(1, 64), world=st.integers(1, 4), seed=st.integers(0, 3))
def test_the_processes_share_the_batches_of_a_single_one(n: int, batch: int, world: int, seed: int) -> None:
    batch *= world
    if n < world:
        with pytest.raises(ValueError, match=f"{n} clips"):
            BatchOrder(_clips(n), batch, seed, Process(0, world))
        return
    orders = [BatchOrder(_clips(n), batch, seed, Process(rank, world)) for rank in range(world)]
    whole = orders[0].epoch(1)
    assert whole.shape == (orders[0].steps, orders[0].batch_size)
    assert len(set(whole.flatten().tolist())) == whole.numel()  # no clip twice in an epoch
    assert n - whole.numel() < orders[0].batch_size
    shares = torch.cat([order.share(order.epoch(1)) for order in orders], dim=1)
    assert shares.shape == whole.shape
    assert torch.equal(shares.sort(dim=1).values, whole.sort(dim=1).values)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    order = BatchOrder(_clips(64), 8, 0, Process())
    assert torch.equal(order.epoch(3), BatchOrder(_clips(64), 8, 0, Process()).epoch(3))
    assert not torch.equal(order.epoch(3), order.epoch(4))
    assert not torch.equal(order.epoch(3), BatchOrder(_clips(64), 8, 1, Process()).epoch(3))


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"train\.batch_size: expected a multiple of the 3 processes, got 8"):
        BatchOrder(_clips(64), 8, 0, Process(0, 3))


PARTS = st.lists(st.integers(0, 10**9) | st.sampled_from(["order", "step"]), min_size=1, max_size=4)


@given(left=PARTS, right=PARTS)
def test_seeds_differ_where_their_parts_do(left: list[int | str], right: list[int | str]) -> None:
    assert (derive_seed(*left) == derive_seed(*right)) == (left == right)
    assert 0 <= derive_seed(*left) < 2**63
    assert derive_generator(*left).initial_seed() == derive_seed(*left)
