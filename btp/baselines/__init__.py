"""Other methods on the same stored features and behind the same interface as the detector.

Rows of Tables 1 and 3 and columns of Fig. 3 that can be run here: each is a callable from
`Features` to `Scores`, and `score_baseline` builds it and scores one category with it.
"""

from btp.baselines.catalog import BASELINES, Baseline, score_baseline

__all__ = ["BASELINES", "Baseline", "score_baseline"]
