"""Drafts a contract, and a mapping where one is needed, from recordings by others."""
