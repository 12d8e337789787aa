"""Photos and labels: decoding, image folders, splits, augmentation and the batches made of them."""

from __future__ import annotations

from edge_sdk.data.augment import Augment
from edge_sdk.data.dataset import ArrayDataset, Dataset
from edge_sdk.data.folder import FolderDataset, ImageFolder
from edge_sdk.data.images import Photo, as_rgb, decode
from edge_sdk.data.loader import Batch, Loader, Unreadable
from edge_sdk.data.split import split_dataset, stratified_split

__all__ = [
    "ArrayDataset",
    "Augment",
    "Batch",
    "Dataset",
    "FolderDataset",
    "ImageFolder",
    "Loader",
    "Photo",
    "Unreadable",
    "as_rgb",
    "decode",
    "split_dataset",
    "stratified_split",
]
