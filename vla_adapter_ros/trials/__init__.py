"""The log of runs of policies: what succeeded, how sure that is, which of two checkpoints is better."""
