"""A recording session: one episode after the other, judged before it is saved."""
