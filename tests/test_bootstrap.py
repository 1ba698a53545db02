"""Promises of the bootstrap: seeded, whole clusters, bounded memory, and intervals as in the formulas."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import bootstrap as scipy_bootstrap

from qwen3_eval.stats import bootstrap
from qwen3_eval.stats.bootstrap import mean_interval, percentile_ends, resample_means, sample_interval

Floats = NDArray[np.float64]


def first(means: Floats) -> Floats:
    return means[:, 0]


def test_the_spread_of_resampled_means_is_the_standard_error() -> None:
    """s / sqrt(n) for questions; over clusters, the spread of the clusters' sums. Within 5 %: 4,000 resamples
    know a standard error to 1.1 %, and the bootstrap's own is smaller by sqrt((m-1)/m)."""
    values = np.random.default_rng(1).random((400, 2))
    plain = resample_means(values, 3, n_resamples=4000)
    assert plain.std(axis=0) == pytest.approx(values.std(axis=0, ddof=1) / 20, rel=0.05)
    clusters = np.repeat(np.arange(80), 5).tolist()
    sums = (values - values.mean(axis=0)).reshape(80, 5, 2).sum(axis=1)
    wanted = np.sqrt((sums**2).sum(axis=0)) / 400
    clustered = resample_means(values, 3, clusters, n_resamples=4000)
    assert clustered.std(axis=0) == pytest.approx(wanted, rel=0.05)


def test_columns_of_a_resample_hold_the_same_questions() -> None:
    """Two columns that always differ by 0.2 do so in every resample."""
    column = np.random.default_rng(2).random((50, 1))
    means = resample_means(np.hstack([column, column + 0.2]), 0)
    assert means[:, 1] - means[:, 0] == pytest.approx(np.full(len(means), 0.2))


def test_a_seed_fixes_the_resamples_whatever_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of one resample and of all give the same means; another seed gives others."""
    values = np.random.default_rng(3).random((60, 3))
    whole = resample_means(values, 5, n_resamples=50)
    assert not np.array_equal(whole, resample_means(values, 6, n_resamples=50))
    monkeypatch.setattr(bootstrap, "CHUNK_BYTES", 1)
    assert resample_means(values, 5, n_resamples=50) == pytest.approx(whole)


def test_missing_values_weigh_nothing() -> None:
    """A column's mean is over those that have it; a column without any is NaN."""
    values = np.array([[1.0, np.nan, np.nan], [1.0, 0.5, np.nan], [1.0, 0.5, np.nan]] * 10)
    means = resample_means(values, 0, n_resamples=20)
    assert means[:, 0] == pytest.approx(np.ones(20))
    assert means[:, 1] == pytest.approx(np.full(20, 0.5))
    assert np.isnan(means[:, 2]).all()


def test_many_clusters_are_grouped_and_spread_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """5,000 questions drawn in 500 groups have the standard error of questions drawn one by one. A spread
    over 500 groups is known to 3 %, 2,000 resamples add 1.6 %; four such errors are allowed."""
    values = np.random.default_rng(4).random((5000, 1))
    monkeypatch.setattr(bootstrap, "MAX_UNITS", 500)
    grouped = resample_means(values, 1)
    assert grouped.std() == pytest.approx(values.std() / np.sqrt(5000), rel=0.14)
    assert grouped.mean() == pytest.approx(values.mean(), abs=4 * grouped.std() / np.sqrt(2000))


def test_agrees_with_scipys_bca_interval() -> None:
    """A skewed sample's mean: scipy's BCa ends, within what two sets of 10,000 resamples may differ."""
    values = np.random.default_rng(5).exponential(size=(40, 1))
    got = mean_interval(values, first, 0, n_resamples=10_000)
    want = scipy_bootstrap((values[:, 0],), np.mean, n_resamples=10_000, rng=np.random.default_rng(1))
    spread = values.std() / np.sqrt(40)
    assert got.value == pytest.approx(values.mean())
    assert got.ci_low == pytest.approx(want.confidence_interval.low, abs=0.1 * spread)
    assert got.ci_high == pytest.approx(want.confidence_interval.high, abs=0.1 * spread)


def test_any_statistic_of_rows() -> None:
    """The median of 0..98 is 49; its interval is that of the order statistics 40 to 60, by the binomial."""
    got = sample_interval(np.arange(99.0)[:, None], lambda rows: float(np.median(rows)), 0)
    assert got.value == 49
    assert got.ci_low == pytest.approx(39, abs=2)
    assert got.ci_high == pytest.approx(59, abs=2)


def test_any_statistic_draws_whole_clusters() -> None:
    """Rows of a cluster come together: with two clusters of two, a resample is one of them twice, or both."""
    seen: set[tuple[float, ...]] = set()

    def note(rows: Floats) -> float:
        seen.add(tuple(sorted(rows[:, 0])))
        return 0.0

    sample_interval(np.array([[0.0], [1.0], [2.0], [3.0]]), note, 0, ["a", "b", "a", "b"], n_resamples=60)
    assert seen == {(0, 1, 2, 3), (0, 0, 2, 2), (1, 1, 3, 3)}


def test_percentiles_by_hand_with_infinities_and_gaps() -> None:
    """Of 1..40, the 1st and the 39th; infinity may be an end; many NaN leave no ends."""
    assert percentile_ends(np.array(range(1, 41), dtype=float)) == (1, 39)
    assert percentile_ends(np.array([1.0] * 20 + [np.inf] * 20)) == (1, np.inf)
    assert percentile_ends(np.array([1.0] * 39 + [np.nan])) == (1, 1)
    assert np.isnan(percentile_ends(np.array([1.0] * 30 + [np.nan] * 10))).all()


def test_one_cluster_has_no_interval() -> None:
    got = mean_interval([[0.2], [0.4]], first, 0, clusters=["a", "a"])
    assert got.value == pytest.approx(0.3)
    assert np.isnan([got.ci_low, got.ci_high]).all()


def test_no_spread_is_a_point() -> None:
    """Equal values have an interval of no width, not an error."""
    got = mean_interval(np.full((9, 1), 0.5), first, 0)
    assert (got.value, got.ci_low, got.ci_high) == (0.5, 0.5, 0.5)


def test_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match="n_questions, n_columns"):
        resample_means(np.zeros(3), 0)
    with pytest.raises(ValueError, match="clusters names 1"):
        resample_means(np.zeros((3, 1)), 0, ["a"])
