"""Failure capsules: the last seconds of policy and controller in one file, to be looked at and replayed."""
