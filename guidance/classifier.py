"""Guidance by a classifier of noisy images (Song et al. 2021, Eq. 48; Dhariwal & Nichol 2021, Sec. 4).

    score(x, t) + s grad ln p_t(y | x)

With s = 1, the exact classifier and the score of all images it is the score of the images of class y. With another s it is the score of
p_t(x) p_t(y | x)^s at each time, which are not the marginals of one process: samples are not of p(x) p(y | x)^s, and around the score of
all images it is what classifier-free guidance of weight s - 1 is, but for what the two networks have learnt.
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
    """Of noisy images: a network (models/noisy_classifier.py), or what is known in closed form."""

    def log_probability(self, x: Images, t: PerImage, labels: Integers) -> PerImage:
        """ln p(label | x_t) in nats (b,), of noisy images x (b, ...), times t (b,) and a label (b,) of each.

        0 for the label after the last, which is "no class". Its gradient in x is taken (Dhariwal & Nichol 2021, Alg. 1).
        """


@flax.struct.dataclass
class ClassifierGuided(ChangedScore):
    """`given({"label": (b,)})` binds the class to the classifier, and to the model, which must take it: see `Unconditional`.

    Its `evaluations` are those of the model, the classifier and its gradient apart.
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
    """The model, guided by `scale` times the gradient of the classifier's log-probability of the class that is bound.

    Cost: an evaluation of the model, and one of the classifier with its gradient.
    """
    return ClassifierGuided(model, classifier, scale, num_classes)


@flax.struct.dataclass
class ComponentClassifier:
    """Which component of a mixture x_t comes from, exactly."""

    mixture: MixtureScore

    def log_probability(self, x: Images, t: PerImage, labels: Integers) -> PerImage:
        return of_label(self.mixture.log_posterior(x, t).T, labels)
