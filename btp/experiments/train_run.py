"""Training a planned run, unless that was done."""

from __future__ import annotations

from typing import Any

from btp.errors import ConfigError, DataError
from btp.experiments.protocol import Plan, check_category
from btp.experiments.runs import Run
from btp.experiments.workspace import Workspace
from btp.features.store import load_annotated
from btp.recipe import Recipe
from btp.runtime.own_files import command_line
from btp.training.loop import train
from btp.training.resume import forget_state
from btp.weights.state_dict import read_metadata


def train_run(
    plan: Plan,
    workspace: Workspace,
    resume: bool = True,
    wait: bool = True,
    quiet: bool = False,
) -> Run | None:
    """Train a planned run, unless it is finished; an interrupted one goes on where it was.

    One process at a time trains a run: others wait, and then find it finished.

    Args:
        plan: which.
        workspace: of its dataset and encoder.
        resume: False trains anew whatever is there.
        wait: False returns None where another process is at it.
        quiet: show no progress bar.

    Raises:
        ConfigError: an unknown train category, or the variant that is not trained.
        DataError: a finished run of other settings, or scans that cannot be trained on.
        WeightsError: an interrupted run of other settings.
    """
    if plan.recipe.variant == "baseline":
        raise ConfigError(
            f"variant=baseline is ULIP alone: nothing to train, `{command_line('eval')}` scores it"
        )
    check_category(plan.train_cat, workspace.dataset.categories, "train_cat")
    run = workspace.run(plan)
    store = workspace.store(plan.n_points, plan.sampling_seed)
    with run.claimed(wait) as mine:
        if not mine:
            return None
        if resume and is_trained(plan, workspace):
            forget_state(run.folder)  # of a process that was stopped between its last two files
        else:
            train(
                load_annotated(store, workspace.dataset, plan.train_cat, plan.recipe),
                workspace.model,
                plan.recipe,
                plan.seed,
                run.folder,
                header_of(plan, workspace),
                resume,
                bool(plan.bfloat16),
                quiet,
            )
    return run


def is_trained(plan: Plan, workspace: Workspace) -> bool:
    """Tell whether a plan's training was done, by what its detector's file says of itself.

    Raises:
        DataError: if there is a detector that other settings made.
    """
    path = workspace.run(plan).detector_path
    if not path.is_file():
        return False
    header = read_metadata(path) or {}
    found = Recipe.from_file(header.get("recipe", {}), f"{path}: recipe").flat()
    pairs = {f"recipe.{k}": (found[k], value) for k, value in plan.recipe.flat().items()}
    for name, value in _features(plan, workspace).items():
        pairs[name] = (header.get(name, value), value)
    if not workspace.model.text_fingerprint:  # its file is not here, so nothing is known of it
        del pairs["text_fingerprint"]
    differing = [f"{name} {old}, not {new}" for name, (old, new) in pairs.items() if new != old]
    if differing:
        raise DataError(
            f"{path}: trained with {'; '.join(differing)}; move the folder away, or give the new "
            "settings a name: recipe.name=..."
        )
    return True


def header_of(plan: Plan, workspace: Workspace) -> dict[str, Any]:
    """Return what the detector's file says of its training, with the command that repeats it."""
    return {
        "dataset": dict(workspace.dataset_settings),
        "train_cat": plan.train_cat,
        "seed": plan.seed,
        **_features(plan, workspace),
        "encoder_trained": workspace.model.trained,
        "bfloat16": bool(plan.bfloat16),
        "command": workspace.commands.train(plan),
    }


def _features(plan: Plan, workspace: Workspace) -> dict[str, Any]:
    """What decides a run's features, as its detector and record keep it."""
    model, pretrained = workspace.model, plan.recipe.training.heads == "pretrained"
    return {
        "n_points": plan.n_points,
        "sampling_seed": plan.sampling_seed,
        "encoder_fingerprint": model.fingerprint,
        "text_fingerprint": model.text_fingerprint,
        "heads_digest": model.heads_digest if pretrained else "",
    }
