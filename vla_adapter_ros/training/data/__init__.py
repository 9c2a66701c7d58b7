"""What a training learns from: sources, samples, batches of them, and the checks before the first step."""
