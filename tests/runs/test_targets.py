"""Images with several labels: the targets of their batches, and runs on them."""

import pytest

from dml.datasets import Items
from dml.errors import OptionError
from dml.evaluation import retrieval
from dml.losses import Contrastive, ProxyAnchor, SelfSupervised
from dml.recipe import load_recipe
from dml.runs import Run
from dml.runs._evaluating import read_evaluated
from dml.runs._targets import batch_targets, check_targets
from tests.runs.running import SMALL, rebuild, resume, train, words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("eager_training")]

NAMES = ["cat|red", "red", "blue|cat", "dog"]


def items_of(names, separator="|"):
    return Items.build(names, names, "train", range(len(names)), "seen-class", separator=separator)


def test_targets_are_memberships_or_who_shares_a_label():
    items = items_of(NAMES)
    assert items.class_names == ("blue|cat", "cat|red", "dog", "red")
    memberships = batch_targets(items, ProxyAnchor())(items.labels)
    assert items.label_names == ("blue", "cat", "dog", "red") and memberships.dtype == "float32"
    assert memberships.tolist() == [[0, 1, 0, 1], [0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0]]
    relation = batch_targets(items, Contrastive())(items.labels)
    assert relation.tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    assert batch_targets(items, SelfSupervised(Contrastive())) is None
    assert batch_targets(items_of(NAMES, ""), ProxyAnchor()) is None


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--sampler.name m_per_class", r"sampler\.name must be shuffle, not m_per_class"),
        ("--auxiliary_loss.name triplet", r"loss\.name must compare images with each other or"),
        ("--loss.name margin", r"loss\.name must .*set loss\.per_class to false"),
        ("--loss.name margin --loss.per_class false", None),
        ("--loss.name triplet --memory.size 8", r"memory\.size must be 0"),
        ("--regularizer.name hier", r"regularizer\.name can't be hier"),
        ("", None),
        ("--loss.name multi_similarity --miner.name batch_hard", None),
        ("--loss.name nt_xent --training.views 2 --sampler.name m_per_class", None),
    ],
)
def test_parts_that_need_one_class_each_are_refused(flags, message):
    recipe = load_recipe("table", flags.split())
    check_targets(recipe, items_of(NAMES, ""))
    if message is None:
        check_targets(recipe, items_of(NAMES))
    else:
        with pytest.raises(OptionError, match=message):
            check_targets(recipe, items_of(NAMES))


OPTIONS = {
    **{name: value for name, value in SMALL.items() if name.split(".")[0] != "dataset"},
    "sampler.classes_per_batch": None,
    "sampler.images_per_class": None,
    "sampler.batch_size": 16,
    "dataset.label_separator": "|",
    "dataset.protocol": "seen-class",
    "dataset.validation": "images",
    "dataset.test_fraction": 0.4,
    "dataset.validation_fraction": 0.4,
    "backbone.name": "conv4",
    "backbone.weights": "none",
    "training.epochs": 1,
    "training.stage": "full",
    "training.interpolate": "none",
}


def write_table(path):
    """Writes a table of drawings with one or two of 6 labels."""
    lines = ["path,label"]
    for number in range(6):
        for sample in range(10):
            drawing = f'"glyph:seed=0,size=32,class={number},sample={sample}"'
            lines.append(f"{drawing},{number}{f'| {(number + 1) % 6}' * (sample % 2)}")
    path.write_text("\n".join(lines))
    return {**OPTIONS, "dataset.root": str(path)}


@pytest.mark.parametrize(
    "loss", ["proxy_anchor", pytest.param("contrastive", marks=pytest.mark.slow)]
)
def test_a_neighbour_that_shares_a_label_is_a_hit(tmp_path, loss):
    options = {**write_table(tmp_path / "t.csv"), "loss.name": loss}
    folder = train("table", words(options), tmp_path / "run")
    run = Run(folder.path)
    evaluation = run.evaluation()
    items, vectors = read_evaluated(folder, evaluation)[0].items, evaluation.vectors()
    assert evaluation.protocol == "seen-class" and evaluation.queries == 24
    assert evaluation.classes == 6 and set("".join(items.class_names)) == set("012345|")
    sets = [set(items.class_names[code].split("|")) for code in items.labels]
    expected = retrieval(vectors, sets, ks=(1,))
    assert evaluation.metrics["R@1"].value == expected.recall[1]
    assert expected.recall[1] > retrieval(vectors, items.labels, ks=(1,)).recall[1]
    assert {"no clustering or verification: it needs images of one label each"} <= set(
        evaluation.notes
    )
    assert not {"NMI", "AUC", "linear accuracy"} & set(evaluation.metrics)
    assert run.log()[-1]["val_recall_at_1"] > 0
    page = folder.report.read_text()
    rebuild(folder.path)
    assert folder.report.read_text() == page
    resume(folder.path)  # nothing is left to train
    assert Run(folder.path).evaluation().metrics == evaluation.metrics
