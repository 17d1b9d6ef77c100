"""Fine-tune any supported image classifier with guidance, on any builder of this library or any load_dataset folder.

    python examples/run_guided_image_classification.py --dataset pascal_voc --data_dir VOCdevkit/VOC2007 \
        --model_name_or_path microsoft/resnet-50 --problem_type multi_label_classification \
        --objective Energy --attribution InputXGradient --layer final --output_dir runs/voc

An imagefolder (docs/from-trainer.md) has boxes of COCO's form and no labels: an image has the classes of its objects.

    python examples/run_guided_image_classification.py --dataset my_images --bbox_format xywh --names cat dog \
        --model_name_or_path microsoft/resnet-50 --problem_type multi_label_classification --output_dir runs/mine

`hf-guidance train` takes the same options, and a YAML file.
"""

from transformers import HfArgumentParser

from hf_guidance import GuidanceArguments
from hf_guidance.apps.cli.tasks.image_classification.options import GROUPS
from hf_guidance.apps.cli.tasks.image_classification.training import train


def main() -> None:
    options = HfArgumentParser((*GROUPS, GuidanceArguments)).parse_args_into_dataclasses()
    print(train(*options).table())


if __name__ == "__main__":
    main()
