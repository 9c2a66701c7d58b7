"""The command `vla-adapter`."""
