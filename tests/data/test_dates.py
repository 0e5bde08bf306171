"""Dates in many spellings: read back by rules of the test's own, each gives the one day that the pair says."""

import datetime
import re

import pytest

from tinygrad_seq.data import dates

PAIRS = dates(6000, seed=0)
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "mon tue wed thu fri sat sun".split()


def readings(text: str) -> set[str]:
    """Every day from 1970 to 2069 that a text can mean."""
    words = re.findall(r"[a-z]+|\d+", text.lower())
    named = [MONTHS.index(w[:3]) + 1 for w in words if w[:3] in MONTHS]
    numbers = [w for w in words if w.isdigit()]
    if named:
        orders = [("day", "year"), ("year", "day")]
    else:
        orders = [("month", "day", "year"), ("day", "month", "year"), ("year", "month", "day")]
    found = set()
    for order in orders:
        of = dict(zip(order, numbers, strict=True)) | ({"month": str(named[0])} if named else {})
        year, month, day = of["year"], int(of["month"]), int(of["day"])
        if len(of["day"]) > 2 or len(year) not in (2, 4) or (len(year) == 2 and order[0] == "year"):
            continue
        century = 0 if len(year) == 4 else 1900 if int(year) >= 70 else 2000
        try:
            found.add(datetime.date(century + int(year), month, day).isoformat())
        except ValueError:
            pass
    return found


def test_every_source_means_its_target_and_no_other_day():
    for source, target in PAIRS:
        assert readings(source) == {target}, source
        assert "1970-01-01" <= target <= "2069-12-31"


def test_weekdays_are_the_true_ones():
    found = [(words[0], target) for s, target in PAIRS if (words := [w for w in WEEKDAYS if s.lower().startswith(w)])]
    assert len(found) > 500
    assert all(WEEKDAYS.index(word) == datetime.date.fromisoformat(target).weekday() for word, target in found)


def test_ordinals_have_their_english_ending():
    found = {m.group().lower() for s, _ in PAIRS for m in re.finditer(r"\d+(st|nd|rd|th)\b", s, re.I)}
    assert {"1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "23rd", "30th", "31st"} <= found
    assert len(found) == 31


def test_spellings_are_many_and_sources_differ():
    assert len({source for source, _ in PAIRS}) == len(PAIRS)
    shapes = {re.sub("[a-z]+", "w", re.sub("[A-Z]+[a-z]*", "W", re.sub(r"\d", "0", source))) for source, _ in PAIRS}
    assert len(shapes) > 40
    assert len({target[5:] for _, target in PAIRS}) == 366  # leap days too


def test_a_seed_gives_the_same_pairs_again():
    assert dates(20, seed=5) == dates(20, seed=5) != dates(20, seed=6)


@pytest.mark.parametrize("n", [0, 365_251])
def test_impossible_numbers_are_refused(n):
    with pytest.raises(ValueError, match=f"n from 1 to 365250, got {n}"):
        dates(n, seed=0)
