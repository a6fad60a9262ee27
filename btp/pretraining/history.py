"""How an embedded model was made, in words, from what its pretraining recorded."""

from __future__ import annotations

from typing import Any

from btp.pretraining.corpus.collections import COLLECTIONS

OBJECTIVES = ("contrast", "name", "geometry", "language", "point", "object")
FIGURES = {
    "retrieval": "caption retrieval among 32 clouds",
    "explained": "explained share of hidden patches' geometry",
    "point_auroc": "point AUROC",
    "object_auroc": "object AUROC",
}

_COLLECTIONS = {collection.name: collection for collection in COLLECTIONS}


def towers_made(made: dict[str, Any]) -> str:
    """Say how the towers were made: one item for each pretraining, the first one first."""
    before = f"{towers_made(made['before'])}\n" if made.get("before") else ""
    settings, best = made["settings"], made["best"]
    weights = {name: settings.get(name, 0.0) for name in OBJECTIVES}
    objectives = ", ".join(f"{name} {weight}" for name, weight in weights.items() if weight)
    labelled = weights["point"] or weights["object"]
    labels = "with the anomaly labels of their defects" if labelled else "without anomaly labels"
    families = made.get("held_out_families")
    where = f" (as of revision {made['revision']})" if made.get("revision") else ""
    others = f"of other families ({', '.join(families)})" if families else "never trained on"
    figures = ", ".join(
        f"{text} {best[name]:.3f}" for name, text in FIGURES.items() if name in best
    )
    meshes = {k: n for k, n in made.get("origins", {}).items() if k in _COLLECTIONS}
    kinds = "procedural captioned clouds"
    if meshes:
        kinds = f"captioned clouds, {sum(meshes.values()):,} of them scans of real meshes"
    return f"""{before}- {"Then" if before else "Towers"}: {made["clouds"]:,} {kinds}
  (`btp/pretraining/corpus/`), {labels}; {settings["steps"]} steps of
  {settings["batch_size"]}, learning rate {settings["learning_rate"]:g}, seed {settings["seed"]};
  objectives and their weights: {objectives} (`btp/pretraining/objectives.py`).
  Hardware: {made["hardware"]}. Command{where}: `{made["command"]}`.
  Kept: step {best["step"]:.0f}, the best on clouds {others}: {figures}."""


def mesh_credits(made: dict[str, Any]) -> str:
    """Credit the meshes that towers or heads were trained on; "" where there were none."""
    used = [_COLLECTIONS[name] for name in sorted(made.get("origins", {})) if name in _COLLECTIONS]
    rows = [
        f"| {c.name} | {c.package.name} {c.package.version} | {c.licence} | {c.credit} |"
        for c in used
    ]
    if not rows:
        return ""
    head = "| meshes | package | licence | by |\n|---|---|---|---|"
    return "\nTrained on scans of these meshes, changed by stretching, detail and defects:\n\n" + (
        "\n".join([head, *rows]) + "\n"
    )
