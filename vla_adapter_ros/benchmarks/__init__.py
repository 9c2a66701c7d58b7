"""Measurements that anyone can repeat, each against a baseline in the same run."""
