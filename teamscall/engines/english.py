"""Numbers, times, dates, money, units and abbreviations in English words.

Owns how they are read aloud. Refuses to know streams and markup
(:mod:`teamscall.engines.speakable`): it is given words, and says how many of them it said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ONES = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
_SCALES = ("", " thousand", " million", " billion", " trillion")
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth"}
_ORDINALS |= {"eight": "eighth", "nine": "ninth", "twelve": "twelfth"}
_MONTHS = _words(
    "January February March April May June July August September October November December"
)
_MONTH_WORDS = {month.lower(): month for month in _MONTHS}
_MONTH_WORDS |= {f"{month[:3].lower()}.": month for month in _MONTHS} | {"sept.": "September"}

_ABBREVIATIONS = {
    "e.g.": "for example",
    "i.e.": "that is",
    "vs.": "versus",
    "approx.": "approximately",
    "incl.": "including",
    "etc.": "et cetera",
    "dr.": "Doctor",
    "mr.": "Mister",
    "mrs.": "Missus",
    "prof.": "Professor",
    "a.m.": "AM",
    "p.m.": "PM",
    "w/": "with",
    "w/o": "without",
    "&": "and",
    "c#": "C sharp",
    "f#": "F sharp",
}
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "", ""),
}
_MULTIPLES = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "bn": "billion"}
_MULTIPLES |= {"B": "billion", "b": "billion", "tn": "trillion"}
_SCALE_WORDS = frozenset({"hundred", "thousand", "million", "billion", "trillion"})
_UNIT_NAMES = """
    %: percent percent, ‰: per_mille per_mille, °: degree degrees,
    °c: degree_Celsius degrees_Celsius, ℃: degree_Celsius degrees_Celsius,
    °f: degree_Fahrenheit degrees_Fahrenheit, ℉: degree_Fahrenheit degrees_Fahrenheit,
    mm: millimeter millimeters, cm: centimeter centimeters, m: meter meters,
    km: kilometer kilometers, ft: foot feet, mi: mile miles,
    m²: square_meter square_meters, km²: square_kilometer square_kilometers,
    mg: milligram milligrams, g: gram grams, kg: kilogram kilograms,
    oz: ounce ounces, lb: pound pounds, lbs: pound pounds,
    ml: milliliter milliliters, l: liter liters,
    km/h: kilometer_per_hour kilometers_per_hour, mph: mile_per_hour miles_per_hour,
    ms: millisecond milliseconds, s: second seconds, sec: second seconds,
    min: minute minutes, h: hour hours, hrs: hour hours,
    hz: hertz hertz, khz: kilohertz kilohertz, mhz: megahertz megahertz, ghz: gigahertz gigahertz,
    kb: kilobyte kilobytes, mb: megabyte megabytes, gb: gigabyte gigabytes,
    tb: terabyte terabytes, w: watt watts, kw: kilowatt kilowatts,
    kwh: kilowatt_hour kilowatt_hours, v: volt volts
"""


def _unit_names() -> dict[str, tuple[str, str]]:
    """(one, many) by unit."""
    units = {}
    for entry in _UNIT_NAMES.split(","):
        unit, one, many = entry.replace(":", " ").split()
        units[unit] = (one.replace("_", " "), many.replace("_", " "))
    return units


_UNITS = _unit_names()


def _unit(written: str) -> tuple[str, str] | None:
    """(one, many). Single letters have one spelling: 5g is a weight, 5G is not."""
    if len(written) == 1 and written.isalpha() and written not in "mglshWV":
        return None
    return _UNITS.get(written.lower())


# Said as one letter after a number they are something else as often: "5 s", but "plan 5 m".
_ONLY_ATTACHED = frozenset({"s", "h", "m", "g", "l", "w", "v"})
_FRACTIONS = {"½": "one half", "¼": "one quarter", "¾": "three quarters", "⅓": "one third"}
_FRACTIONS |= {"⅔": "two thirds", "⅛": "one eighth"}
_SIGNS = {"=": "equals", "+": "plus", "×": "times", "÷": "divided by", "→": "to", "->": "to"}
_SIGNS |= {"<": "less than", ">": "greater than", "≈": "about", "≤": "at most", "≥": "at least"}
_BEFORE_NUMBER = {"#": "number ", "~": "about ", "≈": "about ", "≤": "at most ", "≥": "at least "}
_BEFORE_NUMBER |= {"<": "less than ", ">": "more than ", "±": "plus or minus ", "№": "number "}
# After these a number is a name, read digit by digit.
_NAMES_A_CODE = frozenset(_words("code pin id extension ext flight zip postcode account"))
_NAMES_A_YEAR = frozenset(_words("in since until year before after from by of during"))

# Words that many English sentences have and other languages do not.
_TELLING = frozenset(
    _words(
        "the and is are you your of to it it's its that that's this these with for have has can "
        "could would should what when where which how i i'm i'll we we're they there here my our "
        "not don't be been from at please yes thanks thank sorry hello welcome about good"
    )
)

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_OPENING, _CLOSING = "\"'“‘«([¿¡", "\"'”’»)].,;:!?…"
_PLAIN = re.compile(rf"([-−+]?)({_NUMBER})")
_MONEY = re.compile(rf"([-−]?)([$€£¥])({_NUMBER})(k|K|m|M|bn|b|B|tn)?|([-−]?)({_NUMBER})([$€£¥])")
_WITH_UNIT = re.compile(rf"([-−+]?)({_NUMBER})([°%‰℃℉A-Za-z][A-Za-z/²]*)")
_ORDINAL = re.compile(r"(\d{1,9})(?:st|nd|rd|th)", re.IGNORECASE)
_FRACTION = re.compile(r"(\d{1,4})/(\d{1,4})")
_MIXED = re.compile(r"(\d+)([½¼¾⅓⅔⅛])")
_RANGE = re.compile(rf"({_NUMBER})[-–]({_NUMBER})([%°]?)")
_TIMES = re.compile(rf"(?:{_NUMBER})(?:[×x](?:{_NUMBER}))+")
_CLOCK = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?([ap]m)?", re.IGNORECASE)
_HOUR = re.compile(r"(1[0-2]|0?[1-9])([ap]m)", re.IGNORECASE)
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_DOTTED = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_VERSION = re.compile(r"v?\d+(?:\.\d+){2,}")
_YEAR = re.compile(r"(1[1-9]|20)\d\d")
_PHONE_START = re.compile(r"\+\d[\d().-]*")
_PHONE_GROUP = re.compile(r"\(?\d[\d().-]*")
_PHONE = re.compile(r"\(?\d{3}\)?[-.]\d{3}[-.]\d{4}|\d{3}-\d{4}")


def is_telling(word: str) -> bool:
    """Whether a word says that the text is English."""
    return word.lower().replace("’", "'").strip(_OPENING + _CLOSING) in _TELLING


def spoken(words: Sequence[str], previous: str, *, more: bool) -> tuple[int, str] | None:
    """How the first of ``words`` is said, with those after it that belong to it.

    Args:
        words: on one line, with their punctuation.
        previous: the word before them.
        more: whether more words may come on this line.

    Returns:
        how many words are said, and how; None when that depends on what comes.
    """
    word = words[0]
    following = words[1] if len(words) > 1 else ""
    if not any(c.isdigit() for c in word) and not _FRACTIONS.keys() & set(word):
        return _wordy(word, previous, following, more=more)
    before, core, after = _parted(word)
    if _PHONE_START.fullmatch(core) and len(core) > 2:
        return _telephone(words, more=more)
    waits = not after and not following and more
    for pattern, say in _ALONE:
        if match := pattern.fullmatch(core):
            said = say(match)
            if said is None:
                continue
            if pattern is _CLOCK and not match[4]:
                if waits:
                    return None
                if following.lower().rstrip(",;:!?") in ("am", "pm", "a.m.", "p.m.", "a.m", "p.m"):
                    said = said.removesuffix(" o'clock")
            return 1, before + said + after
    if match := _BEFORE.fullmatch(core):
        rest = spoken([match[2] + after, *words[1:]], previous, more=more)
        return None if rest is None else (rest[0], before + _BEFORE_NUMBER[match[1]] + rest[1])
    if money := _MONEY.fullmatch(core):
        if waits:
            return None
        scale = following.strip(_CLOSING).lower() if not after else ""
        if scale in _SCALE_WORDS:
            tail = following[len(scale) :]
            return 2, f"{before}{_money(money, scale)}{tail}"
        return 1, before + _money(money, "") + after
    if match := _PLAIN.fullmatch(core):
        if waits:
            return None
        return _number(words, before, match, after, previous)
    return 1, word


def _wordy(word: str, previous: str, following: str, *, more: bool) -> tuple[int, str] | None:
    """A word without a digit."""
    lower = word.lower().lstrip("(\"'“")
    for tail in ("", ",", ";", ":", ")", "),", ".", "?", "!"):
        plain = lower.removesuffix(tail) if lower.endswith(tail) else ""
        said = _ABBREVIATIONS.get(plain)
        if said is None:
            continue
        if plain in ("etc.", "a.m.", "p.m.") and not tail:
            if not following and more:
                return None
            # Its point may be the sentence's as well.
            said += "." if not following or following[:1].isupper() else ""
        return 1, word[: len(word) - len(lower)] + said + tail
    if word in _SIGNS:
        if not following and more:
            return None
        if any(c.isdigit() for c in previous + following):
            return 1, _SIGNS[word]
        return 1, word if word in "=+×÷" else ""
    if lower == "no." and following[:1].isdigit():
        return 1, word[: -len(lower)] + ("Number" if word[0] == "N" else "number")
    if lower == "no." and not following and more:
        return None
    return 1, word


# --- numbers --------------------------------------------------------------------------


def cardinal(number: int) -> str:
    """``1250`` -> ``one thousand two hundred fifty``; digit by digit from 10^15 on."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")
    if number < 1_000:
        hundreds, rest = divmod(number, 100)
        return f"{_ONES[hundreds]} hundred" + (f" {cardinal(rest)}" if rest else "")
    if number >= 10 ** (3 * len(_SCALES)):
        return digits(str(number))
    groups = []
    for scale in _SCALES:
        number, group = divmod(number, 1_000)
        if group:
            groups.append(cardinal(group) + scale)
    return " ".join(reversed(groups))


def ordinal(number: int) -> str:
    """``21`` -> ``twenty-first``."""
    head, joint, last = _last_word(cardinal(number))
    if last in _ORDINALS:
        return head + joint + _ORDINALS[last]
    return head + joint + (last[:-1] + "ieth" if last.endswith("y") else last + "th")


def digits(text: str) -> str:
    """Digit by digit; everything else is left out."""
    return " ".join(_ONES[int(c)] for c in text if c.isascii() and c.isdigit())


def year(number: int) -> str:
    """``2026`` -> ``twenty twenty-six``."""
    century, rest = divmod(number, 100)
    if 2000 <= number < 2010 or (rest == 0 and century % 10 == 0):
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def decimal(text: str) -> str:
    """``1,250.5`` -> ``one thousand two hundred fifty point five``."""
    whole, _, part = text.replace(",", "").partition(".")
    # Leading zeros, or more digits than anyone counts: it is a name.
    is_name = len(whole) > 15 or (len(whole) > 1 and whole.startswith("0"))
    said = digits(whole) if is_name else cardinal(int(whole))
    return f"{said} point {digits(part)}" if part else said


def _last_word(text: str) -> tuple[str, str, str]:
    place = max(text.rfind(" "), text.rfind("-"))
    return (text[:place], text[place], text[place + 1 :]) if place >= 0 else ("", "", text)


def _parted(word: str) -> tuple[str, str, str]:
    """(before, core, after): the punctuation around a word."""
    core = word.lstrip(_OPENING)
    before = word[: len(word) - len(core)]
    bare = core.rstrip(_CLOSING)
    return before, bare, core[len(bare) :]


def _signed(sign: str) -> str:
    return {"-": "minus ", "−": "minus ", "+": "plus "}.get(sign, "")


def _number(
    words: Sequence[str], before: str, match: re.Match[str], after: str, previous: str
) -> tuple[int, str]:
    """A bare number, with the unit, the month or the fraction that follows it."""
    sign, text = _signed(match[1]), match[2]
    said = sign + decimal(text)
    following = words[1] if len(words) > 1 and not after else ""
    _, next_core, next_after = _parted(following)
    last = previous.lower().strip(_OPENING + ",")
    is_day = text.isdigit() and 1 <= int(text) <= 31 and not sign
    if last in _MONTH_WORDS and is_day:
        return 1, before + ordinal(int(text)) + after
    if is_day and (following.lower() in _MONTH_WORDS or next_core.lower() in _MONTH_WORDS):
        the = "" if last == "the" else "the "
        return 1, f"{before}{the}{ordinal(int(text))} of{after}"
    follows_day = last.rstrip(".").isdigit() or last.endswith(("st", "nd", "rd", "th"))
    is_dated = last in _NAMES_A_YEAR or last in _MONTH_WORDS or follows_day
    if _YEAR.fullmatch(text) and is_dated and not sign:
        return 1, before + year(int(text)) + after
    if last.strip(_CLOSING) in _NAMES_A_CODE and text.isdigit() and len(text) > 2:
        return 1, before + digits(text) + after
    if (fraction := _FRACTION.fullmatch(next_core)) and (part := _fraction(fraction)):
        return 2, f"{before}{said} and {part}{next_after}"
    if next_core in _FRACTIONS:
        return 2, f"{before}{said} and {_FRACTIONS[next_core]}{next_after}"
    if next_core in _CURRENCIES:
        one, many, _, _ = _CURRENCIES[next_core]
        return 2, f"{before}{said} {one if text == '1' else many}{next_after}"
    unit = _unit(next_core)
    if unit is not None and next_core.lower() not in _ONLY_ATTACHED:
        return 2, f"{before}{said} {unit[text != '1']}{next_after}"
    return 1, before + said + after


def _money(match: re.Match[str], scale: str) -> str:
    sign = _signed(match[1] or match[5] or "")
    symbol, text = match[2] or match[7], match[3] or match[6]
    scale = scale or _MULTIPLES.get(match[4] or "", "")
    one, many, cent, cents = _CURRENCIES[symbol]
    if scale:
        return f"{sign}{decimal(text)} {scale} {many}"
    whole, _, part = text.partition(".")
    if len(part) != 2 or not cent:
        return f"{sign}{decimal(text)} {one if text == '1' else many}"
    amount, small = int(whole.replace(",", "")), int(part)
    said = f"{decimal(whole)} {one if amount == 1 else many}"
    coins = f"{cardinal(small)} {cent if small == 1 else cents}"
    if not small:
        return sign + said
    return sign + (coins if amount == 0 else f"{said} and {coins}")


def _with_unit(match: re.Match[str]) -> str | None:
    unit = _unit(match[3])
    if unit is None:
        return None
    return f"{_signed(match[1])}{decimal(match[2])} {unit[match[2] != '1']}"


def _fraction(match: re.Match[str]) -> str | None:
    above, below = int(match[1]), int(match[2])
    if not (0 < above < below <= 10 or (below == 100 and above < below)):
        return f"{cardinal(above)} {'' if match[0] == '24/7' else 'over '}{cardinal(below)}"
    name = {2: "half", 4: "quarter"}.get(below) or ordinal(below)
    return f"{cardinal(above)} {name}{'s' if above > 1 else ''}"


def _range(match: re.Match[str]) -> str:
    unit = _UNITS[match[3]][1] if match[3] else ""
    both_years = all(_YEAR.fullmatch(match[n]) for n in (1, 2))
    first, second = (year(int(match[n])) if both_years else decimal(match[n]) for n in (1, 2))
    return f"{first} to {second}" + (f" {unit}" if unit else "")


# --- times, dates, telephones ---------------------------------------------------------


def _clock(match: re.Match[str]) -> str:
    hour, minute, half = int(match[1]), int(match[2]), (match[4] or "").upper()
    said = cardinal(hour)
    if minute:
        said += f" {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    elif not half:
        said += " o'clock" if 1 <= hour <= 12 else " hundred"
    if match[3]:
        seconds = int(match[3])
        said += f" and {cardinal(seconds)} second{'' if seconds == 1 else 's'}"
    return f"{said} {half}" if half else said


def _date(first: str, second: str, in_year: str, *, month_first: bool) -> str | None:
    month, day = (int(first), int(second)) if month_first else (int(second), int(first))
    if month > 12 and day <= 12:
        month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return f"{_MONTHS[month - 1]} {ordinal(day)}, {year(int(in_year))}"


def _telephone(words: Sequence[str], *, more: bool) -> tuple[int, str] | None:
    """``+49 30 1234``: plus, then each group digit by digit."""
    before, core, after = _parted(words[0])
    groups, count = [core], 1
    while not after and count < len(words):
        _, group, tail = _parted(words[count])
        if not _PHONE_GROUP.fullmatch(words[count].rstrip(_CLOSING)):
            break
        groups.append(group)
        after = tail
        count += 1
    if not after and count == len(words) and more:
        return None
    said = ", ".join(filter(None, (digits(part) for g in groups for part in _split_group(g))))
    return count, f"{before}plus {said}{after}"


def _split_group(group: str) -> list[str]:
    return re.split(r"[().-]+", group)


_Say = Callable[[re.Match[str]], str | None]
_ALONE: tuple[tuple[re.Pattern[str], _Say], ...] = (
    (_ISO, lambda m: _date(m[2], m[3], m[1], month_first=True)),
    (_SLASHED, lambda m: _date(m[1], m[2], m[3], month_first=True)),
    (_DOTTED, lambda m: _date(m[1], m[2], m[3], month_first=False)),
    (_PHONE, lambda m: ", ".join(filter(None, map(digits, _split_group(m[0]))))),
    (_CLOCK, _clock),
    (_HOUR, lambda m: f"{cardinal(int(m[1]))} {m[2].upper()}"),
    (_ORDINAL, lambda m: ordinal(int(m[1]))),
    (_FRACTION, _fraction),
    (_MIXED, lambda m: f"{decimal(m[1])} and {_FRACTIONS[m[2]]}"),
    (re.compile("[½¼¾⅓⅔⅛]"), lambda m: _FRACTIONS[m[0]]),
    (_RANGE, _range),
    (_TIMES, lambda m: " times ".join(map(decimal, re.split("[×x]", m[0])))),
    (_VERSION, lambda m: " point ".join(map(decimal, m[0].lstrip("v").split(".")))),
    (_WITH_UNIT, _with_unit),
)
_BEFORE = re.compile(r"([#~≈≤≥<>±№])(.+)")
