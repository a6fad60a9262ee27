"""Scans judged by one another and against good ones, on made-up descriptors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from btp.evaluation.patch_distances import (
    ComparedScans,
    DescribedScan,
    extents,
    one_part_weight,
    recurring_distance,
    shares_alike,
    standardised,
)
from btp.evaluation.together import MOST_OTHERS, Judge, choose, point_scores

SAMPLINGS, PATCHES, WIDTH = 2, 64, 8
PLACES = torch.randn(PATCHES, WIDTH, generator=torch.Generator().manual_seed(0))
SIZES = torch.tensor([1.0, 2.0, 3.0])


def described(
    seed: int, defect: Tensor | None = None, stretch: Tensor = SIZES, noise: float = 0.05
) -> DescribedScan:
    """A scan of one part: a descriptor for each place, and another one at some defective places."""
    rng = torch.Generator().manual_seed(seed)
    descriptors = PLACES + noise * torch.randn(SAMPLINGS, PATCHES, WIDTH, generator=rng)
    if defect is not None:
        descriptors[:, defect] += 1.5
    points = torch.nn.functional.normalize(
        torch.randn(256, 3, generator=torch.Generator().manual_seed(7)), dim=1
    )
    points = (points * stretch / 3)[torch.randperm(256, generator=rng)].view(SAMPLINGS, 128, 3)
    index = torch.arange(2 * PATCHES).view(PATCHES, 2).expand(SAMPLINGS, -1, -1)
    logits = torch.randn(SAMPLINGS, PATCHES, generator=rng)
    return DescribedScan(
        digest=f"{seed:032x}",
        points=points,
        scale=3.0,
        patch_index=index,
        descriptors=descriptors.half(),
        patch_logits=logits,
        object_logits=logits.amax(1),
    )


SPOT = torch.tensor([3, 4, 5])
BATCH = [described(seed, torch.tensor([seed, seed + 20])) for seed in range(10)]
GOOD = [described(seed) for seed in range(100, 104)]


def lift(logits: Tensor, spot: Tensor) -> float:
    """How far the lowest logit at the defect lies above the highest elsewhere."""
    inside = torch.zeros(PATCHES, dtype=torch.bool)
    inside[spot] = True
    return float(logits[:, inside].min() - logits[:, ~inside].max())


def test_what_is_in_one_scan_only_stands_out() -> None:
    judgement = Judge(BATCH)(BATCH[2])
    assert (judgement.others, judgement.good, judgement.weight) == (9, 0, 1.0)
    assert lift(judgement.patch_logits, torch.tensor([2, 22])) > 1


def test_a_defect_that_all_share_is_found_against_good_scans_only() -> None:
    alike = [described(seed, SPOT) for seed in range(10)]
    assert lift(Judge(alike)(alike[0]).patch_logits, SPOT) < 0
    against = Judge(good=GOOD)(alike[0])
    assert (against.others, against.good) == (0, 4)
    assert lift(against.patch_logits, SPOT) > 1
    assert lift(Judge(alike, GOOD)(alike[0]).patch_logits, SPOT) > 0


def test_one_good_scan_is_enough() -> None:
    assert lift(Judge(good=GOOD[:1])(described(5, SPOT)).patch_logits, SPOT) > 1


def test_the_order_of_scans_does_not_matter() -> None:
    one, other = Judge(BATCH, GOOD), Judge(BATCH[::-1], GOOD[::-1])
    for scan in BATCH[:3]:
        assert torch.equal(one(scan).patch_logits, other(scan).patch_logits)
        assert torch.equal(one(scan).object_logits, other(scan).object_logits)


def test_a_copy_says_nothing_of_its_scan() -> None:
    with_copies = Judge([*BATCH, BATCH[2], BATCH[2]])
    for scan in (BATCH[1], BATCH[2]):
        judgement = with_copies(scan)
        assert judgement.others == 9
        assert torch.equal(judgement.patch_logits, Judge(BATCH)(scan).patch_logits)


def test_scans_of_different_parts_are_judged_alone() -> None:
    kinds = [described(seed, stretch=SIZES * (1 + 0.1 * seed)) for seed in range(10)]
    for judge in (Judge(kinds), Judge(good=kinds[:4])):
        judgement = judge(kinds[3])
        assert (judgement.weight, judgement.others, judgement.good) == (0, 0, 0)
        assert torch.equal(judgement.patch_logits, kinds[3].patch_logits)
        assert torch.equal(judgement.object_logits, kinds[3].object_logits)


def test_a_scan_of_another_size_is_not_known_to_the_good_ones() -> None:
    judge, other = Judge(good=GOOD), described(5, stretch=SIZES * torch.tensor([1, 1, 1.2]))
    assert judge.knows(BATCH[0]) and not judge.knows(other)
    assert torch.equal(judge(other).patch_logits, other.patch_logits)
    twice_as_large = replace(BATCH[0], scale=6.0)
    assert not judge.knows(twice_as_large)
    assert not Judge(good=GOOD[:1]).knows(GOOD[0])  # a copy is no other scan
    assert not Judge(BATCH).knows(BATCH[0])  # there are no good ones


def test_some_scans_of_one_side_do_not_spoil_a_batch() -> None:
    half = [described(seed, stretch=SIZES / 2) for seed in (20, 21, 22)]
    judge = Judge([*BATCH, *half])
    assert judge.weight == 1 and judge(BATCH[2]).others == 9  # the halves judge no one
    assert judge(half[0]).others == 10
    assert lift(judge(BATCH[2]).patch_logits, torch.tensor([2, 22])) > 1


def test_distances_are_those_of_plain_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("btp.evaluation.patch_distances.WHITENED", 0.0)
    scan = BATCH[0]
    found = ComparedScans(BATCH[:4]).distances(scan)
    for column, other in enumerate(BATCH[1:4]):
        memory = other.descriptors.float().flatten(0, 1)
        naive = (scan.descriptors.float()[..., None, :] - memory).norm(dim=-1).amin(-1)
        torch.testing.assert_close(found[..., column], naive, atol=1e-4, rtol=1e-4)


def test_the_nearest_three_of_ten_count() -> None:
    distances = torch.tensor([[9.0, 1, 8, 2, 7, 3, 6, 5, 4, 10]])[None]
    assert recurring_distance(distances).item() == 2
    assert recurring_distance(distances[..., :1]).item() == 9


def test_standardised_by_hand() -> None:
    values = torch.tensor([[1.0, 2, 3, 4, 100]])
    expected = (values - 3) / 1.4826
    torch.testing.assert_close(standardised(values), expected)
    torch.testing.assert_close(standardised(7 * values + 2), expected)
    assert torch.isfinite(standardised(torch.ones(1, 4))).all()


def test_extents_are_those_of_the_cloud_in_its_units() -> None:
    scan = described(3)
    points = scan.points.reshape(-1, 3).double().numpy() * 3
    expected = np.sqrt(np.linalg.eigvalsh(np.cov(points.T, bias=True)))
    np.testing.assert_allclose(extents(scan).numpy(), expected, rtol=1e-5)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turned = replace(scan, points=scan.points @ torch.from_numpy(turn).float())
    torch.testing.assert_close(extents(turned), extents(scan), rtol=1e-5, atol=0)


def test_shares_and_weight() -> None:
    sizes = torch.tensor([1.0, 1.01, 1.02, 1.5])[:, None].expand(-1, 3).double()
    torch.testing.assert_close(shares_alike(sizes), torch.tensor([2, 2, 2, 0]).double() / 3)
    assert one_part_weight(shares_alike(sizes)) == 1
    assert one_part_weight(torch.tensor([0.1, 0.3, 0.9])) == 0
    assert one_part_weight(torch.tensor([0.45])) == pytest.approx(0.5)


def test_at_most_64_are_compared_with_whatever_their_order() -> None:
    many = [described(seed) for seed in range(MOST_OTHERS + 20)]
    chosen = choose(many, MOST_OTHERS, 0)
    assert len({scan.digest for scan in chosen}) == MOST_OTHERS
    assert chosen == choose(many[::-1], MOST_OTHERS, 0) != choose(many, MOST_OTHERS, 1)
    judge = Judge(many)
    assert {judge(scan).others for scan in many} == {MOST_OTHERS}


def test_points_have_the_mean_of_their_patches() -> None:
    scan = described(0)
    index = torch.tensor([[0, 1], [1, 2]]).expand(SAMPLINGS, -1, -1)
    scan = replace(scan, patch_index=index)
    logits = torch.tensor([[0.0, 2.0]]).expand(SAMPLINGS, -1)
    low, high = 0.5, float(torch.tensor(2.0).sigmoid())
    zero = point_scores(scan, logits, "zero")[0]
    torch.testing.assert_close(zero[:3], torch.tensor([low, (low + high) / 2, high]))
    assert not zero[3:].any()
    nearest = point_scores(scan, logits, "nearest")[0]
    gaps = (scan.points[0][:, None] - scan.points[0][[0, 1]]).norm(dim=2).argmin(1)
    torch.testing.assert_close(nearest[3:], torch.tensor([low, high])[gaps][3:])


def test_tensors_bring_a_scan_back() -> None:
    scan = BATCH[0]
    back = DescribedScan.from_tensors(scan.digest, scan.tensors())
    assert (back.digest, back.scale) == (scan.digest, scan.scale)
    for name in ("points", "descriptors", "patch_logits", "object_logits"):
        assert torch.equal(getattr(back, name), getattr(scan, name))
    assert torch.equal(back.patch_index.long(), scan.patch_index)
    assert len(scan.tensors(1)["descriptors"]) == 1
