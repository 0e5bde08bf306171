"""Dates as people write them, and as ISO 8601 does: a small translation task with one right answer."""

from __future__ import annotations

import datetime

from .synthetic import generator

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FIRST, LAST = datetime.date(1970, 1, 1), datetime.date(2069, 12, 31)  # a hundred years: two digits name each once

SPELLED = (
    "{Month} {d}, {Y}",
    "{Mon} {d}, {Y}",
    "{Month} {d}{th}, {Y}",
    "{d} {Month} {Y}",
    "{d} {Mon} {Y}",
    "{d}-{Mon}-{y}",
    "the {d}{th} of {Month} {Y}",
    "{Weekday}, {d} {Month} {Y}",
    "{Weekday}, {Month} {d}, {Y}",
    "{Wkd} {d} {Mon} {Y}",
    "{Y} {Month} {d}",
    "{Y}/{mm}/{dd}",
)
# Month and day can be told apart only by a day above 12: for other days these are not used.
NUMBERS = ("{m}/{d}/{y}", "{mm}/{dd}/{Y}", "{d}/{m}/{y}", "{dd}/{mm}/{Y}", "{dd}.{mm}.{Y}", "{d}-{m}-{Y}")
CASES = (str, str.lower, str.upper)
_MOST = 10  # spellings a day that one may ask for; at the least, in May, there are 28


def dates(n: int, *, seed: int) -> list[tuple[str, str]]:
    """Pairs of a date in one of many spellings and the date in ISO 8601.

    Days are drawn evenly from 1970 to 2069, so a year of two digits means one year; weekdays are the true ones. A date
    in numbers alone is there only where the day is above 12: no pair can be read in two ways.

    Args:
        n: how many pairs, all with different sources.
        seed: the same seed gives the same pairs.
    Raises:
        ValueError: n is below 1 or above 365,250.

    Source: the task of the date-normalization examples of Keras and of Saito's "Deep Learning from Scratch 2" (2018),
    written anew.

    >>> for source, target in dates(5, seed=0):
    ...     print(f"{source:22} {target}")
    2055/01/24             2055-01-24
    23-Dec-96              1996-12-23
    July 11, 1977          1977-07-11
    2051/04/30             2051-04-30
    TUESDAY, 12 MAY 2020   2020-05-12
    """
    days = (LAST - FIRST).days + 1
    if not 1 <= n <= _MOST * days:
        raise ValueError(f"expected n from 1 to {_MOST * days}, got {n}")
    rng = generator(seed)
    pairs: dict[str, str] = {}
    while len(pairs) < n:
        date = FIRST + datetime.timedelta(int(rng.integers(days)))
        spellings = SPELLED + NUMBERS if date.day > 12 else SPELLED
        spelling = spellings[rng.integers(len(spellings))]
        case = CASES[rng.integers(len(CASES))]
        pairs[case(_written(date, spelling))] = date.isoformat()
    return list(pairs.items())


def _written(date: datetime.date, spelling: str) -> str:
    month, weekday = MONTHS[date.month - 1], WEEKDAYS[date.weekday()]
    last = date.day % 10 if date.day not in (11, 12, 13) else 0
    return spelling.format(
        d=date.day,
        dd=f"{date.day:02}",
        th={1: "st", 2: "nd", 3: "rd"}.get(last, "th"),
        m=date.month,
        mm=f"{date.month:02}",
        Mon=month[:3],
        Month=month,
        Wkd=weekday[:3],
        Weekday=weekday,
        y=f"{date.year % 100:02}",
        Y=date.year,
    )
