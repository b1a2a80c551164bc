"""Guidance by a classifier of noisy images (Song et al. 2021, Eq. 48; Dhariwal & Nichol 2021, Sec. 4).

    score(x, t) + s grad ln p_t(y | x)

With s = 1, an exact classifier and an exact unconditional score this is the score of class y. For other s it is the score of
p_t(x) p_t(y | x)^s at each time, but these densities are not the marginals of one process, so samples do not follow p(x) p(y | x)^s.
With an unconditional score it equals classifier-free guidance of weight s - 1, up to the errors of the networks.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, Self

import flax.struct
import jax
import jax.numpy as jnp

from score_sde.models.exact import MixtureScore
from score_sde.models.noisy_classifier import of_label
from score_sde.models.score import ChangedScore, ScoreModel, bind
from score_sde.shapes import Images, Integers, PerImage


class Classifier(Protocol):
    """A classifier of noisy images: a network (models/noisy_classifier.py), or one known in closed form."""

    def log_probability(self, x: Images, t: PerImage, labels: Integers) -> PerImage:
        """ln p(label | x_t) in nats (b,), for noisy images x (b, ...), times t (b,) and one label (b,) each.

        Must be 0 for the label num_classes, which means "no class". Guidance uses its gradient in x (Dhariwal & Nichol 2021, Alg. 1).
        """


@flax.struct.dataclass
class ClassifierGuided(ChangedScore):
    """A score model guided by a classifier.

    `given({"label": (b,)})` binds the labels to the classifier and to the model, which must accept them: wrap an unconditional
    model in `Unconditional`. `evaluations` counts those of the model only, not those of the classifier or its gradient.
    """

    classifier: Classifier
    scale: float = flax.struct.field(pytree_node=False)
    num_classes: int = flax.struct.field(pytree_node=False)
    labels: Integers | None = None

    @property
    def condition(self) -> Any:
        return () if self.labels is None else {"label": self.labels}

    @property
    def unconditional(self) -> Self:
        labels = None if self.labels is None else jnp.full_like(self.labels, self.num_classes)
        return dataclasses.replace(self, model=self.model.unconditional, labels=labels)

    def given(self, condition: Any) -> Self:
        labels = condition["label"] if condition else None
        return dataclasses.replace(self, model=bind(self.model, condition), labels=labels)

    def changed(self, x: Images, t: PerImage, score: Images) -> Images:
        labels = self.labels
        if labels is None:
            return score

        def total(x: Images) -> Any:
            return jnp.sum(self.classifier.log_probability(x, t, labels))

        return score + self.scale * jax.grad(total)(x)


def classifier_guided(
    model: ScoreModel, classifier: Classifier, num_classes: int, scale: float = 1.0
) -> ClassifierGuided:
    """Guide the model by `scale` times the gradient of the classifier's log-probability of the bound label.

    Cost: one evaluation of the model, and one of the classifier with its gradient.
    """
    return ClassifierGuided(model, classifier, scale, num_classes)


@flax.struct.dataclass
class ComponentClassifier:
    """The exact classifier of the component of a mixture that x_t comes from."""

    mixture: MixtureScore

    def log_probability(self, x: Images, t: PerImage, labels: Integers) -> PerImage:
        return of_label(self.mixture.log_posterior(x, t).T, labels)
