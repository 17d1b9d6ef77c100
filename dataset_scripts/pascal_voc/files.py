"""Where the files of a PASCAL VOC folder lie, in folders of any depth: annotations, images, outlines and lists of ids."""

import glob
import os
import posixpath
import re
from collections.abc import Iterable

from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.images.image_files import IMAGE_EXTENSIONS, FileIndex, files_below, stem, with_slashes
from hf_guidance.data.split_names import SPLITS, split_words

ANNOTATIONS, IMAGES, SETS, OUTLINES = "Annotations", "JPEGImages", "ImageSets", "SegmentationClass"
LISTS = os.path.join(SETS, "Main")
OF_CLASS = re.compile(rf".+_({'|'.join(SPLITS)})", re.IGNORECASE)  # cat_train.txt: VOC's lists of one class
FLAGGED = re.compile(r"\s[-+]?[01]$")  # the lines of such lists: 000005 -1
RENAME = f"name the lists of ids {', '.join(f'{name}.txt' for name in SPLITS)} in {LISTS}/, or move the file away."


def find_root(data_dir: str | None) -> str:
    """The folder that holds Annotations/: data_dir itself or a VOC20xx folder inside it."""
    layout = "Annotations/*.xml, JPEGImages/ and ImageSets/Main/{train,val,test}.txt"
    if data_dir is None:
        raise ValueError(f"data_dir: got None; pass the folder that holds {layout}.")
    base = os.path.abspath(os.path.expanduser(data_dir))
    parents = [folder for folder in (base, os.path.join(base, "VOCdevkit")) if os.path.isdir(folder)]
    inner = [os.path.join(folder, name) for folder in parents for name in sorted(os.listdir(folder)) if "VOC" in name]
    found = [folder for folder in [base, *inner] if os.path.isdir(os.path.join(folder, ANNOTATIONS))]
    if not found:
        raise ValueError(f"data_dir: no Annotations folder in {base}; allowed: a folder that holds {layout}.")
    if len(found) > 1 and found[0] != base:
        raise ValueError(f"data_dir: {base} holds several data sets; pass one of {', '.join(found)}.")
    return found[0]


class VocFiles:
    """The files of a VOC folder.

    An id is a path below Annotations/ without its ending, or the last part of one where no other file ends so. The image of
    an annotation lies at the same path below JPEGImages/, or has its name where neither folder holds that name twice.

    Attributes:
        annotations: XML files.
        images: Image files.
        outlines: Files of SegmentationClass.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.annotations = FileIndex(os.path.join(root, ANNOTATIONS), (".xml",))
        self.images = FileIndex(os.path.join(root, IMAGES), IMAGE_EXTENSIONS)
        self.outlines = FileIndex(os.path.join(root, OUTLINES), (".png",))

    def lists(self) -> tuple[dict[str, str], list[str]]:
        """Split -> the list of its ids, and lists of other names; VOC's lists of one class are neither.

        Raises:
            ValueError: Two lists are of one split, a name is only like that of a split that has no list (train2.txt without
                train.txt), or there are lists and none of a split.
        """
        found: dict[str, str] = {}
        others: list[str] = []
        paths = _texts(self.root, LISTS) or _texts(self.root, SETS)
        for path in paths:
            name = stem_of(os.path.basename(path))
            split = _split_of(path)
            if split is None and not OF_CLASS.fullmatch(name):
                others.append(path)
            elif split in found:
                raise ValueError(f"{found[split]} and {path} are both of split {split}; keep one of them.")
            elif split is not None:
                found[split] = path
        near = next((path for path in others if _may_be_of_another(path, found)), None)
        if near is not None:
            raise ValueError(f"{near}: its name is only like that of a split; {RENAME}")
        if not found:
            # a list that lies or is named otherwise cuts the data too: without it all of them would be train
            deep = [path for path in files_below(os.path.join(self.root, SETS)) if path.lower().endswith(".txt")]
            strange = next(iter([*paths, *deep, *(path for path in _texts(self.root) if _split_of(path))]), None)
            if strange is not None:
                raise ValueError(f"{strange}: no list in {os.path.join(self.root, LISTS)} is of a split; {RENAME}")
        return {split: found[split] for split in dict.fromkeys(SPLITS.values()) if split in found}, others

    def annotation(self, image_id: str) -> str:
        """The path of the annotation file of an id below Annotations/."""
        found = self.annotations.find(image_id)
        if len(found) == 1:
            return found[0]
        if found:
            message = (
                f"Annotations holds {found} for it; allowed: one. List ids with their folder, as {stem_of(found[0])}."
            )
            raise InvalidAnnotation("several annotation files of one name", image_id, message)
        path = os.path.join(self.root, ANNOTATIONS, f"{image_id}.xml")
        message = f"a split file or an image names it, but there is no annotation file {path}."
        if FLAGGED.search(image_id) or os.path.isabs(image_id) or image_id[1:2] == ":":
            message += " A line of a split file is one id: a path below Annotations/, without a flag behind it."
        raise InvalidAnnotation("label without box", image_id, message)

    def image(self, annotation: str, filename: str) -> str:
        """The path of the image of an annotation file; its <filename> is used only where its own name does not decide."""
        found = self._same_name(self.images, annotation)
        base = posixpath.basename(with_slashes(filename))
        if not found and stem(base) != posixpath.basename(stem_of(annotation)):
            found = self.images.named(base) or self.images.named(stem(base))
        if len(found) > 1:
            found = [each for each in found if posixpath.basename(each) == base] or found
        if len(found) == 1:
            return self.images.path(found[0])
        reason = "several images of one name" if found else "box file without image"
        message = f"JPEGImages holds {found or 'no image'} for it; allowed: one, {' or '.join(IMAGE_EXTENSIONS)}."
        raise InvalidAnnotation(reason, self.annotations.path(annotation), message)

    def outline(self, annotation: str) -> str | None:
        """The path of the outlines of an annotation's objects; None where there are none."""
        found = self._same_name(self.outlines, annotation)
        return self.outlines.path(found[0]) if len(found) == 1 else None

    def ids(self) -> list[str]:
        """The ids of all annotations, and of all images that belong to none."""
        annotated = [stem_of(name) for name in self.annotations.names]
        used = {name for each in self.annotations.names for name in self._same_name(self.images, each)}
        return sorted({*annotated, *(stem_of(name) for name in self.images.names if name not in used)})

    def _same_name(self, index: FileIndex, annotation: str) -> list[str]:
        at = stem_of(annotation)
        base = posixpath.basename(at)
        exact = [name for name in index.find(at) if stem_of(name) == at]
        return exact or (index.named(base) if len(self.annotations.named(base)) == 1 else [])


def listed_id(line: str) -> str:
    """The id in a line of a list, which some tools write as the path of the image or of the annotation, with its ending."""
    return re.sub(rf"^(.*[/\s])?({IMAGES}|{ANNOTATIONS})/", "", stem(with_slashes(line), (*IMAGE_EXTENSIONS, ".xml")))


def _split_of(path: str) -> str | None:
    """The split that a list's whole name says, which may end with a year."""
    return SPLITS.get(re.sub(r"\d{4}$", "", stem_of(os.path.basename(path)).lower()))


def _may_be_of_another(path: str, found: Iterable[str]) -> bool:
    """Whether a list's name is like that of a split that has no list: train_aug is a further list only beside train."""
    words, near = split_words(stem_of(os.path.basename(path)))
    return any(not any(split[:3] in word for split in found) for word in (*words, *near))  # trainval holds train


def _texts(*folder: str) -> list[str]:
    inside = glob.glob(os.path.join(glob.escape(os.path.join(*folder)), "*.*"))
    return sorted(path for path in inside if path.lower().endswith(".txt"))


def stem_of(name: str) -> str:
    """A file's name without its ending."""
    return posixpath.splitext(name)[0]
