"""Batches for training."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sktransfer._nets import Targets, TrainingPlan
from sktransfer._nets._batches import BatchIterator, FeatureSet, PhasedSet, SampleSet, cut
from sktransfer._nets._freezing import Phase
from sktransfer.utils._random import isolated_rng


def numbered(n, weights=None, draw=None):
    """Row i is to give i."""
    return Targets(np.arange(n), np.ones(n) if weights is None else weights, draw)


def features(n, **options):
    return FeatureSet(np.arange(n, dtype=np.float32)[:, None], numbered(n, **options))


def pictures(n, **options):
    return SampleSet(
        None, numbered(n), lambda row: row, lambda row: torch.full((3, 2, 2), float(row)), torch.stack, **options
    )


def rows(dataset, *args, **options):
    return [values.tolist() for _, (values, *_) in BatchIterator(dataset, *args, **options)]


class TestTargets:
    def test_rows_come_with_their_weights_in_float32(self):
        values, weights, domain = Targets(np.array([4, 5, 6]), np.array([0.5, 1.0, 1.5])).of(np.array([2, 0, 2]))
        assert values.tolist() == [6, 4, 6]
        assert values.dtype == torch.int64
        assert weights.tolist() == [1.5, 0.5, 1.5]
        assert weights.dtype == torch.float32
        assert domain is None

    def test_values_may_be_vectors(self):
        values = np.arange(6, dtype=np.float32).reshape(3, 2)
        assert_array_equal(Targets(values, np.ones(3)).of(np.array([1]))[0], values[[1]])
        assert len(Targets(values, np.ones(3))) == 3


def paired(n_labelled_target=0, n_source=7, n_target=5, seed=0):
    """Sources 1 and 2, then target rows, of which the first are labelled; row i is to give i."""
    domain = np.array([*np.arange(n_source) % 2 + 1, *np.zeros(n_target, int)])
    weights = np.where(domain > 0, 1.0, 0.0)
    weights[n_source : n_source + n_labelled_target] = 3.0
    return Targets(np.arange(len(domain)), weights, domain=domain)


def halves(targets, batch_size, shuffle=True, seed=0, **options):
    """Row numbers of both halves of all batches of an epoch."""
    with isolated_rng(seed):
        chunks = targets.chunks(batch_size, shuffle=shuffle, **options)
    assert all(len(chunk) % 2 == 0 for chunk in chunks)
    return [(chunk[: len(chunk) // 2], chunk[len(chunk) // 2 :]) for chunk in chunks]


class TestPairs:
    @pytest.mark.parametrize(("n_source", "n_target"), [(7, 5), (5, 7), (20, 3), (3, 20), (6, 6)])
    def test_each_row_of_the_larger_side_comes_once_and_the_smaller_is_repeated_evenly(self, n_source, n_target):
        pairs = halves(paired(n_source=n_source, n_target=n_target), 4)
        sides = [np.concatenate(side) for side in zip(*pairs, strict=True)]
        for side, rows_ in zip(sides, [range(n_source), range(n_source, n_source + n_target)], strict=True):
            assert set(side) == set(rows_)
            counts = np.bincount(side)[list(rows_)]
            assert len(side) == max(n_source, n_target)
            assert counts.max() - counts.min() <= 1

    def test_halves_are_labelled_rows_and_target_rows(self):
        targets = paired()
        for labelled, target in halves(targets, 3):
            assert (labelled < 7).all()
            assert (target >= 7).all()
            values, weights, domain = targets.of(np.concatenate([labelled, target]))
            n = len(labelled)
            assert values.tolist() == [*labelled, *target]
            # The loss is a mean over both halves.
            assert weights.tolist() == [2.0] * n + [0.0] * n
            assert domain.tolist() == [*(labelled % 2 + 1), *[0] * n]

    def test_labelled_target_rows_are_on_both_sides(self):
        targets = paired(n_labelled_target=2)
        labelled, target = (np.concatenate(side) for side in zip(*halves(targets, 4), strict=True))
        assert set(labelled) == {*range(7), 7, 8}
        assert set(target) == set(range(7, 12))
        _, weights, domain = targets.of(np.array([7, 0, 8, 9]))
        # Both kinds of labelled rows count alike.
        assert weights.tolist() == [6.0, 2.0, 0.0, 0.0]
        assert domain.tolist() == [0, 1, 0, 0]

    def test_labelled_target_rows_are_in_every_batch(self):
        targets = paired(n_labelled_target=2)
        for batch_size in (2, 3, 7):
            for labelled, target in halves(targets, batch_size):
                of_target = labelled >= 7
                assert of_target.sum() == min(2, (~of_target).sum())
                assert len(labelled) == len(target)
        assert {row for labelled, _ in halves(targets, 3) for row in labelled} == {*range(7), 7, 8}

    @pytest.mark.parametrize("target_weight", [0.0, 1.0, 3.0])
    def test_labelled_target_rows_count_together_by_their_weight(self, target_weight):
        targets = paired(n_labelled_target=2)
        targets.weights[:9] = 1
        targets.target_weight = target_weight
        labelled, target = halves(targets, 4)[0]
        _, weights, domain = targets.of(np.concatenate([labelled, target]))
        of_target = (domain == 0)[: len(labelled)]
        shares = [float(weights[: len(labelled)][side].sum()) for side in (of_target, ~of_target)]
        assert weights.mean() == pytest.approx(1)
        assert shares[0] == pytest.approx(target_weight * shares[1])

    def test_order_is_that_of_the_seed(self):
        def flat(*args, **options):
            return [np.concatenate(pair).tolist() for pair in halves(paired(), 4, *args, **options)]

        assert flat() == flat() != flat(seed=1)
        assert flat(shuffle=False) == flat(shuffle=False, seed=1)

    @pytest.mark.parametrize(("n", "sizes"), [(1, [1]), (4, [2, 2]), (5, [2, 3]), (6, [2, 2, 2])])
    def test_no_pair_of_single_rows_but_where_there_are_no_others(self, n, sizes):
        targets = paired(n_source=n, n_target=1)
        assert [len(labelled) for labelled, _ in halves(targets, 2)] == sizes
        assert targets.n_batches(2) == len(sizes)

    def test_shards_keep_pairs_and_lose_no_row(self):
        whole = halves(paired(n_labelled_target=1), 4)
        parts = [halves(paired(n_labelled_target=1), 4, shard=(part, 2)) for part in range(2)]
        for pair, *shares in zip(whole, *parts, strict=True):
            for side, *side_shares in zip(pair, *shares, strict=True):
                assert sorted(np.concatenate(side_shares)) == sorted(side)

    def test_iterator_gives_pairs(self):
        targets = paired()
        dataset = FeatureSet(np.arange(12, dtype=np.float32)[:, None], targets)
        batches = list(BatchIterator(dataset, 4, True))
        assert len(batches) == targets.n_batches(4) == 2
        for inputs, wanted in batches:
            assert inputs[:, 0].tolist() == wanted.values.tolist()


class TestOrder:
    def test_batches_in_order(self):
        assert rows(features(5), 2) == [[0, 1], [2, 3, 4]]

    @pytest.mark.parametrize("n", [1, 4, 5, 6])
    def test_no_batch_of_one_row_but_where_there_is_no_other(self, n):
        sizes = {1: [1], 4: [2, 2], 5: [2, 3], 6: [2, 2, 2]}[n]
        assert [len(batch) for batch in rows(features(n), 2)] == sizes
        assert [len(chunk) for chunk in cut(np.arange(n), 2)] == sizes

    def test_shuffle_draws_from_torchs_generator_and_takes_every_row_once(self):
        def draw(seed):
            with isolated_rng(seed):
                return rows(features(20), 4, True)

        assert draw(0) == draw(0) != draw(1)
        assert sorted(np.concatenate(draw(0))) == list(range(20))
        with isolated_rng(0):
            assert np.concatenate(draw(0)).tolist() == torch.randperm(20).tolist()

    def test_each_pass_has_its_own_order(self):
        with isolated_rng(0):
            assert rows(features(20), 4, True) != rows(features(20), 4, True)


class TestDraw:
    def test_rows_are_drawn_by_their_weights(self):
        # 20 rows: 2 of class 1. Drawn by 1 / class size, both classes come up equally often.
        classes = np.repeat([0, 1], [18, 2])
        dataset = features(20, draw=1 / np.bincount(classes)[classes])
        with isolated_rng(0):
            drawn = classes[np.concatenate([np.concatenate(rows(dataset, 8, True)) for _ in range(200)])]
        n = 20 * 200
        assert len(drawn) == n
        assert abs(drawn.mean() - 0.5) < 4 * 0.5 / np.sqrt(n)

    def test_the_same_seed_draws_the_same_rows(self):
        dataset = features(20, draw=np.arange(1, 21))

        def draw(seed):
            with isolated_rng(seed):
                return rows(dataset, 4, True)

        assert draw(0) == draw(0) != draw(1)
        flat = np.concatenate(draw(0))
        assert len(flat) == 20
        assert len(set(flat)) < 20

    def test_rows_of_weight_zero_never_come(self):
        dataset = features(4, draw=np.array([0.0, 1.0, 0.0, 2.0]))
        with isolated_rng(0):
            assert set(np.concatenate([np.concatenate(rows(dataset, 2, True)) for _ in range(20)])) == {1, 3}

    def test_validation_takes_each_row_once(self):
        assert rows(features(4, draw=np.array([0.0, 1.0, 0.0, 2.0])), 2) == [[0, 1], [2, 3]]


class TestShards:
    def test_processes_share_each_batch_without_a_row_lost_or_twice(self):
        with isolated_rng(0):
            whole = rows(features(21), 8, True)
        parts = []
        for part in range(2):
            with isolated_rng(0):
                parts.append(rows(features(21), 8, True, shard=(part, 2)))
        assert [sorted(a + b) for a, b in zip(*parts, strict=True)] == [sorted(batch) for batch in whole]


class TestSampleSet:
    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_inputs_and_targets_stay_together(self, n_jobs):
        with isolated_rng(0):
            for inputs, (values, *_) in BatchIterator(pictures(7, n_jobs=n_jobs), 3, True):
                assert inputs.shape[1:] == (3, 2, 2)
                assert inputs[:, 0, 0, 0].tolist() == values.tolist()

    def test_prefix_runs_on_whole_batches(self):
        seen = []

        def prefix(batch):
            seen.append(len(batch))
            return batch.mean((1, 2, 3))

        batches = list(BatchIterator(pictures(5, prefix=prefix), 2))
        assert seen == [2, 3]
        assert batches[1][0].tolist() == [2, 3, 4]

    def test_error_of_a_picture_reaches_the_caller(self):
        def broken(row):
            raise ValueError(f"row {row}")

        dataset = SampleSet(None, numbered(3), broken, lambda x: x, torch.stack)
        with pytest.raises(ValueError, match="row 0"):
            list(BatchIterator(dataset, 2))

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_random_numbers_of_finish_fall_to_the_same_pictures(self, n_jobs):
        def noise(n_jobs):
            dataset = SampleSet(
                None, numbered(9), lambda row: row, lambda row: row + torch.rand(1, 1, 1), torch.stack, n_jobs=n_jobs
            )
            with isolated_rng(3):
                return torch.cat([inputs for inputs, _ in BatchIterator(dataset, 4, True)])

        assert torch.equal(noise(n_jobs), noise(1))


class TestMixing:
    SHARES = torch.tensor([[0.75, 0.25, 0.0], [0.25, 0.75, 0.0], [0.0, 0.0, 1.0]])

    def mixed(self, wanted, **options):
        def mix(batch):
            batch.copy_(torch.einsum("ij,jchw->ichw", self.SHARES, batch))
            return self.SHARES

        dataset = SampleSet(
            None,
            wanted,
            lambda row: row,
            lambda row: torch.full((1, 2, 2), float(row)),
            torch.stack,
            mix=mix,
            **options,
        )
        ((inputs, (values, weights, _)),) = BatchIterator(dataset, 3)
        return inputs, values, weights

    def test_classes_become_shares_of_classes(self):
        inputs, values, weights = self.mixed(Targets(np.array([2, 0, 1]), np.array([1.0, 3.0, 5.0])), n_outputs=3)
        assert inputs[:, 0, 0, 0].tolist() == [0.25, 0.75, 2.0]
        assert values.tolist() == [[0.25, 0, 0.75], [0.75, 0, 0.25], [0, 1, 0]]
        assert weights.tolist() == [0.75 * 1 + 0.25 * 3, 0.25 * 1 + 0.75 * 3, 5]

    def test_vectors_are_averaged(self):
        wanted = np.array([[0.0, 4.0], [8.0, 0.0], [1.0, 1.0]], dtype=np.float32)
        _, values, _ = self.mixed(Targets(wanted, np.ones(3)), n_outputs=2)
        assert_allclose(values, self.SHARES.numpy() @ wanted)

    def test_prefix_sees_the_mixed_pictures(self):
        inputs, _, _ = self.mixed(Targets(np.array([2, 0, 1]), np.ones(3)), n_outputs=3, prefix=lambda x: x[:, 0, 0, 0])
        assert inputs.tolist() == [0.25, 0.75, 2.0]


class TestKept:
    """Pictures that do not change are prepared once."""

    def prepared(self, n, room, log, **options):
        def prepare(row):
            log.append(row)
            return torch.full((3, 2, 2), float(row))  # 48 bytes

        return SampleSet(None, numbered(n), prepare, lambda picture: picture, torch.stack, room=room, **options)

    @pytest.mark.parametrize(("room", "again"), [(0, 7), (47, 7), (48, 6), (3 * 48 + 47, 4), (7 * 48, 0), (2**20, 0)])
    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_as_many_as_there_is_room_for(self, room, again, n_jobs):
        log = []
        dataset = self.prepared(7, room, log, n_jobs=n_jobs)
        first, second, third = (list(BatchIterator(dataset, 3)) for _ in range(3))
        assert len(log) == 7 + 2 * again
        for later in (second, third):
            for (x, wanted), (x_first, _) in zip(later, first, strict=True):
                assert_array_equal(x, x_first)
                assert_array_equal(x[:, 0, 0, 0], wanted.values)

    def test_in_any_order(self):
        log = []
        dataset = self.prepared(9, 4 * 48, log)
        with isolated_rng(0):
            for _ in range(5):
                for x, wanted in BatchIterator(dataset, 4, True):
                    assert_array_equal(x[:, 0, 0, 0], wanted.values)
        assert len(log) == 9 + 4 * 5

    def test_rows_that_come_several_times(self):
        log = []
        dataset = self.prepared(3, 2**20, log)
        chunks = [np.array([0, 1, 0]), np.array([2, 0])]
        for _ in range(2):
            batches = [x[:, 0, 0, 0].tolist() for x, _ in dataset.batches(chunks)]
            assert batches == [[0, 1, 0], [2, 0]]
        assert sorted(log) == [0, 0, 0, 1, 2]

    def test_a_pass_that_was_given_up_halfway(self):
        log = []
        dataset = self.prepared(6, 2**20, log)
        next(iter(BatchIterator(dataset, 2)))
        assert rows(dataset, 2) == [[0, 1], [2, 3], [4, 5]]
        assert sorted(log) == [0, 1, 2, 3, 4, 5]

    def test_mixing_leaves_them_as_they_are(self):
        def mix(pictures):
            pictures.zero_()
            return torch.eye(len(pictures))

        dataset = self.prepared(4, 2**20, [], mix=mix, n_outputs=4)
        for _ in range(2):
            assert all((x == 0).all() for x, _ in BatchIterator(dataset, 2))
        dataset.mix = None
        assert torch.cat([x for x, _ in BatchIterator(dataset, 2)])[:, 0, 0, 0].tolist() == [0, 1, 2, 3]


class TestPhasedSet:
    def phase(self, start, name="train"):
        return Phase(name, 1, TrainingPlan(start, frozenset()))

    @pytest.fixture
    def built(self):
        return []

    @pytest.fixture
    def dataset(self, built):
        def build(phase):
            built.append((phase.name, phase.plan.start))
            return features(4)

        return PhasedSet(numbered(4), build)

    def test_is_built_anew_only_where_the_phase_needs_something_else(self, dataset, built):
        for phase in [self.phase(2), self.phase(2, "unfreeze 3"), self.phase(1), self.phase(1)]:
            dataset.enter(phase)
        assert built == [("train", 2), ("train", 1)]

    def test_a_probe_has_data_of_its_own(self, dataset, built):
        dataset.enter(self.phase(None, "probe"))
        dataset.enter(self.phase(None))
        assert built == [("probe", None), ("train", None)]

    def test_the_old_is_let_go_before_the_new_is_built(self):
        def build(phase):
            assert dataset.current is None
            return features(4)

        dataset = PhasedSet(numbered(4), build)
        dataset.enter(self.phase(1))
        dataset.enter(self.phase(0))

    def test_batches_are_those_of_the_phase(self, dataset):
        dataset.enter(self.phase(0))
        assert rows(dataset, 2) == [[0, 1], [2, 3]]
        assert len(dataset) == 4
