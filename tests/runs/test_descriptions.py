"""What is said of a training before it starts."""

import pytest

from dml.recipe import load_recipe
from dml.runs._descriptions import describe_training, notes_on_memory, unused_options
from dml.runs._parameters import Parameters


def test_says_what_is_trained_from_which_weights_and_how_long():
    assert describe_training(load_recipe("glyphs"), Parameters(9, 9), 25, True) == (
        "training conv4 from random weights, 48 x 48 pixels to embeddings of 64; "
        "trains all 9 parameters; loss proxy_anchor; 12 epochs of 25 batches of 64 images"
    )
    flags = "--backbone.name own --backbone.path my.keras --backbone.input_size 224"
    flags += " --loss.name contrastive"
    flags += " --miner.name batch_hard --auxiliary_loss.name center --embedding.dim 0"
    assert describe_training(
        load_recipe("glyphs", flags.split()), Parameters(2, 9), 1000, True
    ) == (
        "training my.keras from its own weights, 224 x 224 pixels to pooled features; "
        "trains 2 of 9 parameters; loss contrastive, miner batch_hard, auxiliary loss center; "
        "12 epochs of 1,000 batches of 64 images"
    )
    imagenet = load_recipe(
        "glyphs", ["--backbone.name", "resnet50", "--backbone.weights", "imagenet"]
    )
    assert "training resnet50 from ImageNet weights, " in describe_training(
        imagenet, Parameters(9, 9), 1, True
    )


@pytest.mark.parametrize(
    "validated, stages",
    [
        (
            True,
            "20 epochs of the head alone, then 10 epochs and, if they help, 10 more at higher "
            "rates, of 50 batches of 32 images",
        ),
        (False, "20 epochs of the head alone, then 10 epochs of 50 batches of 32 images"),
    ],
)
def test_a_second_stage_takes_validation(validated, stages):
    line = describe_training(load_recipe("adapt"), Parameters(9, 9), 50, validated)
    assert line.rpartition("; ")[2] == stages


def test_a_memory_that_is_never_used_is_noted():
    flags = ["--loss.name=contrastive", "--memory.size=64", "--training.epochs=3"]
    (note,) = notes_on_memory(load_recipe("glyphs", flags), steps=25)
    assert note == (
        "note: the memory is used after 1,000 batches (memory.start), and the training has 75 at "
        "most: lower it, for example to 25, the batches of an epoch"
    )
    used = load_recipe("glyphs", [*flags, "--memory.start=74"])
    assert not list(notes_on_memory(used, steps=25))
    (note,) = notes_on_memory(load_recipe("glyphs", [*flags, "--memory.start=75"]), steps=25)
    assert "has 75 at most" in note
    assert not list(notes_on_memory(load_recipe("glyphs"), steps=1))
    # 20 epochs of the head, 10 of all and 10 more of all.
    adapt = load_recipe("adapt", [*flags[:2], "--training.epochs=10", "--memory.start=400"])
    (note,) = notes_on_memory(adapt, steps=10)
    assert "has 400 at most" in note


def test_a_head_alone_has_no_use_for_options_of_the_backbone():
    options = {
        "backbone.lora_rank": 2,
        "optimizer.layer_decay": 0.5,
        "training.freeze_backbone_epochs": 1,
        "training.chunks": 2,
        "training.train_blocks": 0,
        "training.average": "ema",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    head = load_recipe("adapt", [*flags, "--training.stage=head"])
    assert unused_options(head) == list(options)
    assert unused_options(load_recipe("adapt", flags)) == []
    assert unused_options(load_recipe("adapt", ["--training.stage=head"])) == []
