"""One list of checks, used by the recorder, `dataset check`, fine-tuning and `checkpoint verify`.

`checks` is the list: name, thresholds, what each check needs, and where it runs. Every check gives one
number, which is compared with two thresholds: beyond the first it warns, beyond the second it fails. What
lacks what it needs says `skip` and why, never `pass`. Nothing here opens a file: arrays and plain values
come in, findings go out.
"""
