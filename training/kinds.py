"""The kinds of tasks that can be built from a config, by training.task."""

from __future__ import annotations

from score_sde.training.classifier_task import CLASSIFIER
from score_sde.training.few_step_tasks import CONSISTENCY, MEAN_FLOW
from score_sde.training.score_task import SCORE, Kind

KINDS: dict[str, Kind] = {
    "score": SCORE,
    "classifier": CLASSIFIER,
    "consistency": CONSISTENCY,
    "mean_flow": MEAN_FLOW,
}
