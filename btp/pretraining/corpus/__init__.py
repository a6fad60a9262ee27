"""The pretraining corpus: endless captioned clouds of shape families that no dataset tests on."""
