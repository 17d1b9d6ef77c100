"""bccd_voc: the recipe of the cards on blood cells, where nearly every image holds every class."""

from pathlib import Path

from studies.cards import COLUMNS, run_voc


def run(data: Path, output: Path, seeds: int) -> None:
    results, _ = run_voc("cells", data / "bccd_voc", output, seeds)
    results.check("EPG at least +30 over unguided", ("epg", "guided", "unguided"), low=30)
    results.check("micro-F1 at most 2 lower", ("f1", "guided", "unguided"), low=-2)
    results.report("moved boxes: EPG (a trial had +6)", ("epg", "moved boxes", "unguided"))
    results.show(COLUMNS)
