"""The token is kept as a hash, compared in equal time, and cannot be guessed by trying."""

from __future__ import annotations

import stat

import pytest

from vla_adapter_ros.console.access import (
    TRIES,
    WAIT_S,
    Access,
    hash_token,
    load_or_make_token,
    new_token,
)
from vla_adapter_ros.errors import ConsoleError

RIGHT = "right-token"


def test_a_token_is_shown_once_and_kept_as_its_hash(tmp_path):
    path = tmp_path / "deep" / "console_token"
    kept, token = load_or_make_token(path)
    assert len(token) >= 32 and kept == hash_token(token)
    assert token not in path.read_text() and kept in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_make_token(path) == (kept, "")


def test_a_new_token_makes_the_old_one_worthless(tmp_path):
    path = tmp_path / "console_token"
    _, old = load_or_make_token(path)
    kept, new = load_or_make_token(path, renew=True)
    assert not Access(kept).allows(old) and Access(kept).allows(new)


@pytest.mark.parametrize("content", ["", "hunter2", "z" * 64, "\xe4" * 64])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "console_token"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConsoleError, match="console_token"):
        load_or_make_token(path)


def test_tokens_differ():
    assert len({new_token() for _ in range(100)}) == 100


def test_without_a_hash_everybody_may_come_in():
    assert Access().is_open and Access().allows("") and not Access(hash_token(RIGHT)).is_open


@pytest.mark.parametrize("token", ["", "wrong", RIGHT + " ", RIGHT.upper(), "\ud800"])
def test_only_the_token_itself_opens(token):
    assert not Access(hash_token(RIGHT)).allows(token)


def test_after_some_wrong_tokens_even_the_right_one_has_to_wait():
    access = Access(hash_token(RIGHT))
    assert not any(access.attempt("wrong", "10.0.0.1", n) for n in range(TRIES))
    assert not access.attempt(RIGHT, "10.0.0.1", TRIES)
    assert access.wait_s("10.0.0.1", TRIES) == pytest.approx(WAIT_S - TRIES)
    assert access.attempt(RIGHT, "10.0.0.2", TRIES), "another address is not locked out"
    assert access.attempt(RIGHT, "10.0.0.1", TRIES + WAIT_S)


def test_many_addresses_together_have_to_wait_too():
    access = Access(hash_token(RIGHT))
    for n in range(4 * TRIES):
        access.attempt("wrong", f"10.0.0.{n}", 1.0)
    assert not access.attempt(RIGHT, "10.0.1.1", 2.0)
    assert access.attempt(RIGHT, "10.0.1.1", 2.0 + WAIT_S)


def test_a_right_token_forgets_the_wrong_ones_before():
    access = Access(hash_token(RIGHT))
    for round_ in range(3):
        for n in range(TRIES - 1):
            assert not access.attempt("wrong", "a", round_ + n * 0.1)
        assert access.attempt(RIGHT, "a", round_ + 0.9)
