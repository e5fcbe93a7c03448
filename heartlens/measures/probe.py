"""A linear probe of a label, trained on other persons, and the plane in which vectors differ most. Arrays in, arrays out.

The probe is Fisher's linear discriminant with equal priors: nearest class mean under the pooled covariance within classes, in closed
form, so that chance is 1 / classes whatever the classes' sizes. Accuracy is balanced: the mean over a person's classes of the part of
each that is recognised.
"""

import numpy as np
from jaxtyping import Float, Int, Shaped

SHRINKAGE = 1e-3  # of the covariance towards a multiple of the identity: vectors of few examples must not break it
Vectors = Float[np.ndarray, "example feature"]
ByShuffle = Int[np.ndarray, "shuffle example"]


def shuffled_within(
    value: Int[np.ndarray, " example"], label: Int[np.ndarray, " example"], n_shuffles: int, rng: np.random.Generator
) -> ByShuffle:
    """The labels, first as they are, then shuffled among the examples of the same value."""
    by_value = np.argsort(value, kind="stable")
    labels = np.repeat(label[None], n_shuffles, axis=0)
    order = np.argsort(value[by_value] + rng.random((n_shuffles - 1, len(value))), axis=1)
    labels[1:, by_value] = label[by_value][order]
    return labels


def probe_accuracy(
    vector: Vectors, labels: ByShuffle, unit: Shaped[np.ndarray, " example"], n_folds: int = 5
) -> Float[np.ndarray, "unit shuffle"]:
    """The balanced accuracy in each unit (sorted) of a probe trained on the units of other folds; NaN with fewer than two units.

    A unit is a person, or a record where persons are not known: other records of a person would help to recognise that person's.
    """
    names, owner = np.unique(unit, return_inverse=True)
    n_classes = int(labels.max(initial=0)) + 1
    if len(names) < 2:
        return np.full((len(names), len(labels)), np.nan)
    right = np.zeros(labels.shape, bool)
    for fold in range(min(n_folds, len(names))):
        asked = owner % n_folds == fold
        right[:, asked] = _recognised(vector[~asked], labels[:, ~asked], vector[asked], n_classes) == labels[:, asked]
    return np.stack([_balanced(right[:, owner == index], labels[:, owner == index], n_classes) for index in range(len(names))])


def principal_plane(
    vector: Float[np.ndarray, "*level example feature"],
) -> tuple[Float[np.ndarray, "*level example component"], Float[np.ndarray, "*level component"]]:
    """The vectors' first two principal components, and the part of the variance along each; the largest coordinate is positive."""
    centred = vector.astype(np.float64) - vector.mean(axis=-2, keepdims=True, dtype=np.float64)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    plane = left[..., :2] * size[..., None, :2]
    largest = np.take_along_axis(plane, np.abs(plane).argmax(axis=-2, keepdims=True), axis=-2)
    variance = size**2
    total = variance.sum(axis=-1, keepdims=True)
    return plane * np.where(largest < 0, -1, 1), np.divide(variance, total, out=np.zeros_like(variance), where=total > 0)[..., :2]


def neighbour_plane(vector: Float[np.ndarray, "*level example feature"], seed: int) -> Float[np.ndarray, "*level example component"]:
    """A plane in which near neighbours by cosine stay near: t-SNE (van der Maaten & Hinton 2008), begun at the principal components.

    Distances between groups mean nothing in it. Fewer than four vectors are left at 0.
    """
    from sklearn.manifold import TSNE

    n_vectors = vector.shape[-2]
    plane = np.zeros((*vector.shape[:-1], 2))
    for level in np.ndindex(vector.shape[:-2]) if n_vectors > 3 else ():
        unit = vector[level] / np.maximum(np.linalg.norm(vector[level], axis=-1, keepdims=True), 1e-12)
        perplexity = min(30.0, (n_vectors - 1) / 3)
        plane[level] = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(unit)
    return plane


def _recognised(
    vector: Vectors, labels: ByShuffle, asked: Float[np.ndarray, "asked feature"], n_classes: int
) -> Int[np.ndarray, "shuffle asked"]:
    """The class each asked vector is nearest to, for probes trained on each shuffle of the labels."""
    mean, spread = vector.mean(axis=0, dtype=np.float64), vector.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 0, spread, 1)
    vector, asked = (vector - mean) / scale, (asked - mean) / scale
    member = (labels[:, None] == np.arange(n_classes)[:, None]).astype(float)
    n_members = member.sum(axis=-1)
    centre = member @ vector / np.maximum(n_members, 1)[..., None]
    within = (vector.T @ vector - np.einsum("sk,skf,skg->sfg", n_members, centre, centre, optimize=True)) / len(vector)
    ridge = SHRINKAGE * np.trace(within, axis1=1, axis2=2) / vector.shape[1] + 1e-12
    weight = np.linalg.solve(within + ridge[:, None, None] * np.eye(vector.shape[1]), centre.swapaxes(1, 2))
    score = asked @ weight - 0.5 * np.einsum("skf,sfk->sk", centre, weight)[:, None]
    return np.where(n_members[:, None] > 0, score, -np.inf).argmax(axis=-1)


def _balanced(right: Shaped[np.ndarray, "shuffle example"], labels: ByShuffle, n_classes: int) -> Float[np.ndarray, " shuffle"]:
    member = labels[..., None] == np.arange(n_classes)
    n_members = member.sum(axis=1)
    recall = (member & right[..., None]).sum(axis=1) / np.maximum(n_members, 1)
    return recall.sum(axis=-1) / np.maximum((n_members > 0).sum(axis=-1), 1)
