"""Evaluation harnesses of others: our policies behind their interfaces, and our suites within them."""
