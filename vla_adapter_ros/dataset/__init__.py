"""Data sets: so far only their quality; reading and writing are in `recording`."""
