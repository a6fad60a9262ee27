"""Pretraining a small point-language model on the captioned corpus, in ULIP's way."""
