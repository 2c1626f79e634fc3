"""Tables of peaks: the column of shifts, or a refusal; lists of shifts stay lists."""

import time

import pytest

from acml_search.core.errors import InvalidRecord
from acml_search.nmr.sources import shifts_of_table


@pytest.mark.parametrize(
    "text",
    [
        "ppm,intensity\n169.81,0.34\n151.20,0.22\n20.90,0.9\n",
        "intensity;shift\n0,34;169,81\n0,22;151,20\n0,9;20,90\n",
        "exported 2024-01-01\nNo.\tf1 (ppm)\tInt\n1\t169.81\t0.34\n2\t151.20\t0.22\n3\t20.90\t0.9",
        "shift height\r\n169.81 0.34\r\n151.20 0.22\r\n\r\n20.90 0.9",
        '"Intensity", "δ"\n"0.34", "169.81"\n"0.22", "151.20"\n"0.9", "20.90"',
    ],
)
def test_the_column_that_is_named_so_holds_the_shifts(text) -> None:
    assert [float(x) for x in shifts_of_table(text, "c_nmr").split(",")] == [169.81, 151.2, 20.9]


def test_many_lines_of_prose_take_no_time() -> None:
    text = "a\n" * 500_000
    started = time.process_time()
    assert shifts_of_table(text, "c_nmr") == text
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "text",
    [
        "169.81 0.34\n151.20 0.22\n20.90 0.9",
        "169,81;0,34\n151,20;0,22",
        "ppm,δ\n169.81,0.34\n151.20,0.22",
        "1 169.81\n2 151.20\n3 20.90",
        "peak,height\n9.0,8.0\n7.0,6.0",
    ],
)
def test_a_table_that_does_not_say_which_is_refused(text) -> None:
    with pytest.raises(InvalidRecord, match=r"nothing says which of them is the shift; name the columns"):
        shifts_of_table(text, "c_nmr")


@pytest.mark.parametrize(
    "text",
    [
        "169.81, 151.20, 20.90",
        "169.81 151.20\n130.1 20.90",
        "13C NMR (101 MHz, CDCl3)\n169.81, 151.20,\n130.1, 20.90",
        "20.9 130.1\n151.2 169.8",
        "169.81\n151.20\n20.90",
        "169,81\n151,20\n20,90",
        "1H NMR (400 MHz, CDCl3) δ 7.26 (m, 2H),\n3.81 (s, 3H).",
        "169.81 (C)\n151.2 (CH)",
        "",
    ],
)
def test_lists_and_lines_of_papers_stay_as_they_are(text) -> None:
    assert shifts_of_table(text, "c_nmr") == text
