"""Whether a run's frozen part is computed once, on how many views, and what is said about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_sdk.parallel.communicator import Communicator
from edge_sdk.training.features import Features, Views, layout
from edge_sdk.training.frozen_part import FrozenPart, cut_off_frozen
from edge_sdk.training.listener import Listener
from edge_sdk.training.settings import Settings
from edge_sdk.training.step import TrainingForward

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.loader import Loader

MOST_BYTES = 2 << 30
"""Of the features of a run; where they would be more, each epoch computes them."""
USUAL_VIEWS = 1
"""Views of each photo where augmentation varies them and the settings name no number."""


@dataclass(frozen=True)
class RunFeatures:
    """The features that a run trains on, and those that it is validated on."""

    training: Features
    validation: Features | None

    def compute(self, listener: Listener, threads: int | None, communicator: Communicator) -> None:
        """Compute what is missing, each process its part, and tell the listener."""
        both = [features for features in (self.training, self.validation) if features is not None]
        total = sum(features.missing for features in both)
        part = self.training.part
        done = 0

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            listener.on_features(done, total)

        session = part.session() if total else None
        for features in both:
            # As in `evaluate`, photos of the validation data that cannot be read are left out of the count.
            told = listener.on_unreadable if features is self.training else None
            features.compute(session, threads, advance, told, communicator)

    def message(self, what: str) -> str:
        """Return what is computed once, on how many views, how much that is and where it lies."""
        both = [features for features in (self.training, self.validation) if features is not None]
        photos = sum(len(features.views.dataset) for features in both)
        views = self.training.views.count
        size = _amount(sum(features.store.layout.bytes for features in both))
        missing, rows = (sum(getattr(features, name) for features in both) for name in ("missing", "rows"))
        shown = f"{views} view{'s' * (views > 1)}"
        if missing == 0:
            when = f"were computed before ({shown})"
        elif missing == rows:
            when = f"are computed once ({shown})"
        else:
            when = f"are computed once ({shown}; {rows - missing:,} of {rows:,} are there)"
        said = f"{what} is frozen: features of {photos:,} photos {when}, {size} in "
        remarks = "".join(f"; {remark}" for remark in dict.fromkeys(f.store.remark for f in both) if remark)
        return f"{said}{self.training.store.place}{remarks}"


def features_for(
    forward: TrainingForward,
    loader: Loader,
    validation: Dataset | None,
    settings: Settings,
    listener: Listener,
    communicator: Communicator,
) -> RunFeatures | None:
    """Open the features of a run's photos; None where each step is to compute the frozen part itself.

    That part is cut off if the whole backbone is frozen, or augmentation is "off", or the settings name a number of
    views: elsewhere fewer views than epochs might cost accuracy. What takes more than `MOST_BYTES` is not kept.
    """
    if settings.freeze is None or not settings.feature_cache:
        return None
    part = cut_off_frozen(forward, precise=settings.precise)
    if part is None:
        return None
    what = "backbone" if settings.freeze == "backbone" else f"the network before {_name_of_cut(part)}"
    varies = loader.augment is not None and loader.augment.varies
    if settings.freeze != "backbone" and varies and settings.feature_views is None:
        listener.on_note(f"{what} is frozen, and computed for each new view; feature_views=K computes K views once")
        return None
    count = min(settings.epochs, settings.feature_views or USUAL_VIEWS) if varies else 1
    preprocess = loader.preprocess
    training = Views(loader.dataset, preprocess, loader.augment if varies else None, settings.seed, count)
    held_out = None if validation is None else Views(validation, preprocess)
    size = sum(layout(part, views).bytes for views in (training, held_out) if views is not None)
    if size > MOST_BYTES:
        listener.on_note(
            f"{what} is frozen, but its features would take {_amount(size)}, more than {_amount(MOST_BYTES)}: "
            "each epoch computes them"
        )
        return None
    from edge_sdk.data.feature_store import features_folder

    folder = features_folder()
    for views in (training, held_out):
        if views is not None:
            _ = views.digest  # now, while all processes read
    if communicator.rank:
        communicator.barrier()  # the first makes the files, and the others find them
    features = RunFeatures(
        Features(part, training, folder), None if held_out is None else Features(part, held_out, folder)
    )
    if not communicator.rank:
        communicator.barrier()
    listener.on_note(features.message(what))
    return features


def _name_of_cut(part: FrozenPart) -> str:
    """The first layer that trains, by its parameter."""
    return min(part.rest.trained, key=list(part.rest.graph.params).index).rpartition(".")[0]


def _amount(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{max(1, round(count / 1e3))} kB"
