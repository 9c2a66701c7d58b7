"""A recording session: one episode after the other, checked before it is saved."""
