"""Reads RLDS data sets, as TensorFlow Datasets writes them, without TensorFlow."""
