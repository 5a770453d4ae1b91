"""The allocator is told, where there is one to tell, and never stands in the way."""

import os
import sys

from wavedil.training.memory import keep_freed_memory


def test_glibc_takes_the_settings():
    libc = sys.platform == "linux" and "glibc" in __import__("platform").libc_ver()[0]
    assert keep_freed_memory() == libc


def test_what_the_user_says_of_huge_pages_stays(monkeypatch):
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    keep_freed_memory()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
