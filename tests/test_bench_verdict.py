"""The verdict of the resume benchmark detects the faults that it must detect."""

from __future__ import annotations

import pytest

from bench.resume.verdict import GAP, Verdict, judge

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("record", "taken", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], Verdict(received=3)),
        # A publication that was not reported as accepted may or may not be received.
        ([1, 2, 3], [1, 3], Verdict(received=3)),
        ([1, 3], [1, 3], Verdict(received=2)),
        ([1, 3], [1, 2, 3], Verdict(received=2, silent=1)),
        ([1, 2], [1, 2, 3, 4], Verdict(received=2, silent=2)),
        ([], [1, 2], Verdict(silent=2)),
        ([1, 1, 2], [1, 2], Verdict(received=3, duplicates=1)),
        ([1, 3, 2], [1, 2, 3], Verdict(received=3, silent=1, disordered=1)),
        ([1, 3, 2], [1, 3], Verdict(received=3, late=1)),
        ([1, GAP, 4], [1, 2, 3, 4], Verdict(received=2, gaps=1, announced=2)),
        # A gap excuses only what lies between the publications around it.
        ([1, GAP, 3, 5], [1, 2, 3, 4, 5], Verdict(received=3, gaps=1, announced=1, silent=1)),
        ([1, GAP], [1, 2], Verdict(received=1, gaps=1, announced=1)),
        ([1, GAP, GAP, GAP, 2], [1, 2], Verdict(received=2, gaps=3, crowded=1)),
    ],
)
def test_a_record_is_judged(record, taken, expected):
    assert judge(record, taken, causes=2) == expected
    wrong = expected.duplicates + expected.disordered + expected.silent + expected.crowded
    assert expected.fine is (wrong == 0)


def test_verdicts_add_up():
    total = judge([1, 3], [1, 2, 3], 0)
    total.add(judge([1, 1, GAP, 3], [1, 2, 3], 1))
    assert total == Verdict(received=5, duplicates=1, gaps=1, announced=1, silent=1)
