"""Identifiers against phonenumbers and python-stdnum, which are not ours, and against made-up digits."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from auditor.observers import identifiers as ours
from auditor.observers.identifiers import TYPES, identifiers, luhn, mod97

KNOWN = [
    ("write to Ann.Smith+x@mail.acme.co.uk, please", "email", "Ann.Smith+x@mail.acme.co.uk"),
    ("tel +49 30 901820.", "phone", "+49 30 901820"),
    ("tel (212) 736-5000", "phone", "(212) 736-5000"),
    ("tel 212-736-5000", "phone", "212-736-5000"),
    ("IBAN GB82 WEST 1234 5698 7654 32 IS OURS", "iban", "GB82 WEST 1234 5698 7654 32"),
    ("pay DE89370400440532013000.", "iban", "DE89370400440532013000"),
    ("card 4111 1111 1111 1111 ends", "payment_card", ""),  # two different digits: nobody's
    ("card 5500-0055-5555-5559 ends", "payment_card", "5500-0055-5555-5559"),
    ("card 4012-8888-8888-1881 ends", "payment_card", "4012-8888-8888-1881"),
    ("card 378282246310005", "payment_card", "378282246310005"),
    ("from 8.8.8.8 came", "ip_address", "8.8.8.8"),
    ("from 2001:4860:4860::8888 came", "ip_address", "2001:4860:4860::8888"),
    ("CF RSSMRA85T10A562S", "national_id", "RSSMRA85T10A562S"),
    ("DNI 54362315K", "national_id", "54362315K"),
    ("BE 85.07.30-033.28", "national_id", "85.07.30-033.28"),
    ("NIR 2 95 10 99 126 111 93", "national_id", "2 95 10 99 126 111 93"),
]
INNOCENT = [
    "someone@example.org, icon@2x.png, a@b, @handle, x..y@acme.de",
    "call 212-555-0123, version 1.2.3.4.5, at 10.0.0.1 or 127.0.0.1 and 192.168.1.20",
    "GB83 WEST 1234 5698 7654 32 and DE88370400440532013000",
    "4012888888881882 and 1234567890123 and 4012888888881881.25",
    "RSSMRA85T10A562T 54362315L 85.07.30-033.29 2 95 10 99 126 111 94",
    "at 12:30:45, ratio 1::, std::vector, 2026-11-21, 3.14159265358979, +1 000 000 000",
    "+0 30 901820, +999 123 456 789",
]


@pytest.mark.parametrize(("text", "kind", "value"), KNOWN)
def test_known_identifiers_are_found_whole(text, kind, value):
    found = identifiers(text)
    assert [(one.type, one.value) for one in found] == ([(kind, value)] if value else [])
    assert all(text[one.start : one.stop] == one.value for one in found)


@pytest.mark.parametrize("text", INNOCENT)
def test_what_breaks_a_rule_is_left(text):
    assert identifiers(text) == []


def test_several_in_one_text_are_counted_apart_and_in_order():
    text = "a@b.de 8.8.8.8 a@b.de DE89370400440532013000"
    assert [one.type for one in identifiers(text)] == ["email", "ip_address", "email", "iban"]


def test_calling_codes_are_those_of_libphonenumber():
    phonenumbers = pytest.importorskip("phonenumbers")
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    assert {str(code) for code, where in regions.items() if "001" not in where} == ours._CODES


def test_example_numbers_of_every_country_are_found():
    phonenumbers = pytest.importorskip("phonenumbers")
    missed = []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        if example is not None:
            written = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
            missed += [] if [one.type for one in identifiers(f"call {written} now")] == ["phone"] else [written]
    assert missed == ["+690 7290", "+1 201-555-0123"]  # too short for us; a fictional number


def test_lengths_of_accounts_are_those_of_the_register():
    stdnum = pytest.importorskip("stdnum")
    lines = (Path(stdnum.__file__).parent / "iban.dat").read_text().splitlines()
    rows = [match for line in lines if (match := re.match(r'([A-Z]{2}) .*bban="([^"]+)"', line))]
    assert {row[1]: 4 + sum(map(int, re.findall(r"(\d+)!", row[2]))) for row in rows} == ours._IBAN_LENGTHS


def test_checks_agree_with_those_of_stdnum_on_random_numbers():
    pytest.importorskip("stdnum")
    from stdnum import luhn as their_luhn
    from stdnum.be import nn
    from stdnum.es import dni
    from stdnum.fr import nir
    from stdnum.iso7064 import mod_97_10
    from stdnum.it import codicefiscale

    rng = np.random.default_rng(0)

    def digits(count):
        return "".join(str(digit) for digit in rng.integers(10, size=count))

    def letters(count):
        return "".join(chr(65 + letter) for letter in rng.integers(26, size=count))

    agreed = dict.fromkeys(("luhn", "mod97", "dni", "nir", "it"), 0)
    for _ in range(3000):
        number = digits(16)
        assert luhn(number) == their_luhn.is_valid(number)
        assert (mod97(letters(0) + number) == 1) == mod_97_10.is_valid(number)
        spanish = digits(8) + letters(1)
        assert ours.is_national_id(spanish) == dni.is_valid(spanish)
        french = "1" + digits(2) + "07" + "75" + digits(6)
        french += f"{97 - int(french) % 97 if rng.random() < 0.5 else 50:02d}"
        assert ours.is_national_id(french) == nir.is_valid(french), french
        start = f"{letters(6)}{digits(2)}{'ABCDEHLMPRST'[rng.integers(12)]}{rng.integers(1, 29):02d}A{digits(3)}"
        italian = start + (codicefiscale.calc_check_digit(start) if rng.random() < 0.5 else letters(1))
        right = codicefiscale.calc_check_digit(italian[:-1]) == italian[-1]
        assert ours.is_national_id(italian) == right
        agreed["luhn"] += luhn(number)
        agreed["dni"] += ours.is_national_id(spanish)
        agreed["nir"] += ours.is_national_id(french)
        agreed["it"] += right
        agreed["mod97"] += mod97(number) == 1
    assert all(agreed.values()), agreed
    assert nn.is_valid("85.07.30-033.28")


def test_digits_made_up_for_something_else_are_seldom_taken_for_an_identifier():
    """Of bare numbers of 8 to 20 digits, of which a Luhn digit alone would pass one in ten."""
    rng = np.random.default_rng(0)
    taken = dict.fromkeys(TYPES, 0)
    for _ in range(20_000):
        number = "".join(str(digit) for digit in rng.integers(10, size=int(rng.integers(8, 21))))
        for one in identifiers(f"item {number} of the list"):
            taken[one.type] += 1
    assert taken["payment_card"] <= 0.008 * 20_000, taken  # 0.46 % where this was written
    assert taken["national_id"] <= 0.001 * 20_000, taken
    assert sum(taken.values()) == taken["payment_card"] + taken["national_id"]


def test_long_texts_take_no_time_that_grows_with_their_square():
    assert identifiers("1 " * 50_000) == []
    assert identifiers("a.b-c" * 20_000 + " @") == []
    assert identifiers(":" * 50_000 + "1:" * 20_000) == []
