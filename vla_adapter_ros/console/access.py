"""Who may open the console: a secret token, kept as its hash, and few tries to guess it."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from vla_adapter_ros.errors import ConsoleError
from vla_adapter_ros.files import write_text

TOKEN_BYTES = 24
TRIES = 5
"""Wrong tokens that one address, or all together four times as many, may try before it has to wait."""
WAIT_S = 30.0
_ADDRESSES = 1000  # that are remembered


def hash_token(token: str) -> str:
    """What is kept of a token. It is long and random, so that a plain hash cannot be guessed back."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def new_token() -> str:
    """A token that nobody can guess, of letters, digits, - and _."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def load_or_make_token(path: Path, *, renew: bool = False) -> tuple[str, str]:
    """The hash of the console's token, and the token itself if it was made just now.

    Args:
        path: File of the hash; only its owner can read it.
        renew: Whether to make a new one, after which the old one is worth nothing.

    Returns:
        Hash, and the new token; empty if the hash was there already: the token is shown once only.

    Raises:
        ConsoleError: the file cannot be read or written, or holds something else.
    """
    try:
        if not renew and path.is_file():
            kept = path.read_text(encoding="ascii").strip()
            if len(kept) != len(hash_token("")) or set(kept) - set("0123456789abcdef"):
                raise ConsoleError(
                    f"{path}: this is no hash of a token: delete it, or start with --new-token"
                )
            return kept, ""
        token = new_token()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_text(path, hash_token(token) + "\n")
        os.chmod(path, 0o600)
    except (OSError, ValueError) as error:
        raise ConsoleError(f"the token's hash cannot be kept in {path}: {error}") from None
    return hash_token(token), token


class Access:
    """Decides whether a token opens the console.

    Args:
        token_hash: See `hash_token`; empty: no token is needed, which is for the loopback only.
    """

    def __init__(self, token_hash: str = "") -> None:
        self._hash = token_hash
        self._failures: dict[str, list[float]] = {}  # address -> when wrong tokens came from it [s]

    @property
    def is_open(self) -> bool:
        """Whether no token is needed."""
        return not self._hash

    def allows(self, token: str) -> bool:
        """Whether a token is the right one. It takes equally long whatever is wrong with it."""
        return self.is_open or hmac.compare_digest(hash_token(token), self._hash)

    def attempt(self, token: str, address: str, now: float) -> bool:
        """As `allows`, for a token that a stranger gives: after TRIES wrong ones no further one counts.

        Args:
            token: What was given.
            address: Who gave it.
            now: By a steady clock [s].
        """
        if self.wait_s(address, now) > 0.0:
            return False
        if self.allows(token):
            self._failures.pop(address, None)
            return True
        self._failures.setdefault(address, []).append(now)
        while len(self._failures) > _ADDRESSES:
            self._failures.pop(next(iter(self._failures)))
        return False

    def wait_s(self, address: str, now: float) -> float:
        """How long an address has to wait before its next try counts [s]; 0: it may try."""
        self._failures = {
            a: recent
            for a, times in self._failures.items()
            if (recent := [t for t in times if now - t < WAIT_S])
        }
        own = self._failures.get(address, [])
        everybody = sorted(t for times in self._failures.values() for t in times)
        waits = [0.0]
        if len(own) >= TRIES:
            waits.append(own[-TRIES] + WAIT_S - now)
        if len(everybody) >= 4 * TRIES:
            waits.append(everybody[-4 * TRIES] + WAIT_S - now)
        return max(waits)
