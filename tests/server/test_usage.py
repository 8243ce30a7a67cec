"""What the process uses, and the limits that apply to it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from djhookbox.server import usage


def test_memory_is_that_of_this_process() -> None:
    found = usage.resident()
    assert found is None or 10_000_000 < found < 10**11
    held = bytearray(b"x" * 50_000_000)
    later = usage.resident()
    assert found is None or later is None or later - found > 20_000_000
    assert len(held)


@pytest.mark.parametrize(
    ("texts", "limit"),
    [
        (["max"], None), (["536870912"], 536_870_912), (["nonsense"], None), ([], None),
        (["9223372036854771712"], None), (["max", "1073741824"], 2**30),
    ],
)  # fmt: skip
def test_the_limit_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str], limit: int | None
) -> None:
    paths = [tmp_path / str(number) for number in range(3)]
    for path, text in zip(paths, texts, strict=False):
        path.write_text(text)
    monkeypatch.setattr(usage, "CGROUPS", tuple(paths))
    usage.memory_limit.cache_clear()
    try:
        import resource

        own = [resource.getrlimit(k)[0] for k in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
        if any(one != resource.RLIM_INFINITY for one in own):
            pytest.skip("these tests have a limit themselves")
        assert usage.memory_limit() == limit
        assert usage.memory() == (None, None) if limit is None else usage.memory()[1] == limit
    finally:
        usage.memory_limit.cache_clear()


class BeforeLinux62:
    """`os` on a system that does not count the files of a process."""

    devnull = os.devnull

    def __init__(self, *, lists: bool) -> None:
        self._lists = lists

    def stat(self, path: str) -> SimpleNamespace:
        return SimpleNamespace(st_size=0)

    def listdir(self, path: str) -> list[str]:
        assert self._lists, "a list of thousands takes too long"
        return ["0", "1", "2"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells")
@pytest.mark.parametrize(("most", "lists"), [(100_000, True), (0, False)])
def test_file_descriptors_that_the_system_does_not_count(
    monkeypatch: pytest.MonkeyPatch, most: int, lists: bool
) -> None:
    monkeypatch.setattr(usage, "os", BeforeLinux62(lists=lists))
    monkeypatch.setattr(usage, "MOST_LISTED", most)
    used = usage.files()[0]
    if lists:
        assert used == 3
        return
    with Path(__file__).open() as file:
        assert used == file.fileno()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells")
def test_file_descriptors_are_not_listed_where_the_system_counts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not os.stat("/proc/self/fd").st_size:
        pytest.skip("Linux counts them since 6.2")

    def listdir(path: str) -> list[str]:
        raise AssertionError("a list of thousands takes too long")

    monkeypatch.setattr(os, "listdir", listdir)
    assert (usage.files()[0] or 0) > 2


def test_file_descriptors() -> None:
    used, limit = usage.files()
    with Path(__file__).open():
        assert used is None or usage.files()[0] == used + 1
    assert limit is None or limit >= (used or 0)
