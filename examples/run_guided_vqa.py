"""Train UpDn, Pythia, SAN or LXMERT with guidance on any builder of questions: a recipe by name, or a guidance.json.

    python examples/run_guided_vqa.py --recipe visfis --output_dir runs/vqa
    python examples/run_guided_vqa.py --dataset gqa --data_dir gqa --regions gqa.h5 --model_type lxmert \
        --recipe visfis --recipe_options '{"model": "lxmert", "dataset": "gqa"}' --output_dir runs/gqa

`hf-guidance train --task question-answering` takes the same options, and a YAML file.
"""

from transformers import HfArgumentParser

from hf_guidance import GuidanceArguments
from hf_guidance.apps.cli.tasks.question_answering.options import GROUPS
from hf_guidance.apps.cli.tasks.question_answering.training import train


def main() -> None:
    options = HfArgumentParser((*GROUPS, GuidanceArguments)).parse_args_into_dataclasses()
    print(train(*options).table())


if __name__ == "__main__":
    main()
