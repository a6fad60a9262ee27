"""What the work costs: the plain way, as the authors' release computes it, beside ours.

Both sides are measured in one process, in turns. A ratio is given only where both give the same
result; `released_*.py` are plain twins, written from the paper and from facts about the release.
"""
