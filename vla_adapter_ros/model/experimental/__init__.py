"""Variants for comparison: no shipped or official checkpoint uses them."""
