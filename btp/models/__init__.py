"""The parts of the model, each under the paper's own name."""
