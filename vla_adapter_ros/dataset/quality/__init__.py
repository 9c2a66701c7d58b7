"""One list of checks, used by the recorder, `dataset check`, fine-tuning and `checkpoint verify`.

`checks` is the list: name, thresholds, what each check needs, and where it runs. Every check gives one
number, which is compared with two thresholds: beyond the first it warns, beyond the second it fails. What
lacks what it needs says `skip` and why, never `pass`. Checks take arrays and plain
values and give findings; only `scan` and `stored_files` read a data set.
"""
