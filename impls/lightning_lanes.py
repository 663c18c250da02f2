"""The lanes of Lightning: what they need, and what a reader must know of them."""

from __future__ import annotations

from impls.lanes import Implementation, Lane
from impls.torch_lanes import PACKAGES as TORCH
from impls.torch_lanes import PLAIN as TORCH_PLAIN

PACKAGES = (("lightning", "lightning"), *TORCH)

PLAIN = TORCH_PLAIN | {
    "loop": "Lightning's Trainer.fit, in Python, paused between blocks; its DataLoader stacks rows; the turn to the"
    " next pass is in few blocks, and in no median"
}

IMPLEMENTATIONS = (
    Implementation(
        name="lightning",
        trainer="impls.lightning_mlp:LightningTrainer",
        environment="torch-libraries",
        packages=PACKAGES,
        backend="torch",
        manifest=PLAIN,
    ),
    Implementation(
        name="lightning-tuned",
        trainer="impls.lightning_tuned_mlp:LightningTunedTrainer",
        environment="torch-libraries",
        packages=PACKAGES,
        lane=Lane.TUNED,
        backend="torch",
        manifest=PLAIN
        | {"loop": "Lightning's barebones Trainer.fit, in Python, paused between blocks, over ready minibatches"},
    ),
)
