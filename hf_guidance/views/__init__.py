"""Views: edited copies of the features, ``fill + keep * (features - fill)``.

A keep says what stays, a Replace function gives the fill; new ones are exported here. Features are in canonical layout:
(images, channels, *space), where space is (height, width) or (objects,).
"""

from hf_guidance.views.batch import Batch
from hf_guidance.views.coalitions import Coalitions, Flip, OneBox
from hf_guidance.views.important import IMPORTANT, UNIMPORTANT, Important, ImportantOrRandom, MostAttributed
from hf_guidance.views.keep import Nothing, Path, RandomKeep
from hf_guidance.views.replace import (
    Replace,
    ShuffleImportant,
    gaussian,
    gaussian_noise,
    marginal,
    negative_ones,
    of_each_image,
    sees_places,
    shuffle,
    shuffle_places,
    takes_from_others,
    zeros,
)
from hf_guidance.views.replace_pixels import Blur, OtherImages
from hf_guidance.views.view import FULL, Keep, Needs, View

__all__ = [
    "FULL",
    "IMPORTANT",
    "UNIMPORTANT",
    "Batch",
    "Blur",
    "Coalitions",
    "Flip",
    "Important",
    "ImportantOrRandom",
    "Keep",
    "MostAttributed",
    "Needs",
    "Nothing",
    "OneBox",
    "OtherImages",
    "Path",
    "RandomKeep",
    "Replace",
    "ShuffleImportant",
    "View",
    "gaussian",
    "gaussian_noise",
    "marginal",
    "negative_ones",
    "of_each_image",
    "sees_places",
    "shuffle",
    "shuffle_places",
    "takes_from_others",
    "zeros",
]
