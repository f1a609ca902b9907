"""Angular fields: the formulas by hand, what they keep and what they do not, and what cannot be drawn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from leanrisk.core.errors import ConfigError, DataError
from leanrisk.features.angular_field import angular_difference, angular_sum, field_images, rescaled, shortened

SERIES = arrays(
    np.float64, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8), elements=st.floats(-1e12, 1e12)
)
PLAIN = arrays(np.float64, (2, 6), elements=st.floats(-100, 100))


def by_hand(series, kind):
    """The definition with angles, one dot at a time."""
    (row,) = rescaled([series])
    angles = [math.acos(value) for value in row.astype(float)]
    if kind == "sum":
        return [[math.cos(one + other) for other in angles] for one in angles]
    return [[math.sin(one - other) for other in angles] for one in angles]


def test_three_moments_by_hand():
    # 0, 1, 2 become 0, 1/2, 1: angles pi/2, pi/3, 0.
    root = math.sqrt(3) / 2
    assert rescaled([[0.0, 1.0, 2.0]]).tolist() == [[0, 0.5, 1]]
    sums, differences = angular_sum([[0.0, 1.0, 2.0]])[0], angular_difference([[0.0, 1.0, 2.0]])[0]
    np.testing.assert_allclose(sums, [[-1, -root, 0], [-root, -0.5, 0.5], [0, 0.5, 1]], atol=1e-6)
    np.testing.assert_allclose(differences, [[0, 0.5, 1], [-0.5, 0, root], [-1, -root, 0]], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(series=PLAIN)
def test_the_products_are_the_cosines_and_sines_of_the_angles(series):
    for row in series:
        np.testing.assert_allclose(angular_sum([row])[0], by_hand(row, "sum"), atol=2e-3)
        np.testing.assert_allclose(angular_difference([row])[0], by_hand(row, "difference"), atol=2e-3)


@settings(max_examples=60, deadline=None)
@given(series=SERIES)
def test_fields_are_symmetric_or_antisymmetric_and_in_range(series):
    sums, differences = angular_sum(series), angular_difference(series)
    moments = series.shape[1]
    assert sums.shape == differences.shape == (len(series), moments, moments)
    assert sums.dtype == differences.dtype == np.float32
    assert np.abs(sums).max() <= 1
    assert np.abs(differences).max() <= 1
    assert np.array_equal(sums, sums.transpose(0, 2, 1))
    assert np.array_equal(differences, -differences.transpose(0, 2, 1))
    scaled = rescaled(series)
    np.testing.assert_allclose(np.diagonal(sums, axis1=1, axis2=2), 2 * scaled**2 - 1, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(series=PLAIN, scale=st.floats(0.5, 1e6), shift=st.floats(-100, 100))
def test_the_currency_and_the_zero_do_not_matter(series, scale, shift):
    # A series that hardly moves is drawn by its rounding errors, whatever is done to it.
    series = series + np.arange(6) * 10
    for field in (angular_sum, angular_difference):
        np.testing.assert_allclose(field(series * scale + shift), field(series), atol=1e-2)


@settings(max_examples=40, deadline=None)
@given(series=PLAIN)
def test_time_backwards_turns_the_picture(series):
    back = series[:, ::-1]
    np.testing.assert_allclose(angular_sum(back), angular_sum(series)[:, ::-1, ::-1], atol=1e-6)
    np.testing.assert_allclose(angular_difference(back), angular_difference(series)[:, ::-1, ::-1], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(series=PLAIN)
def test_the_series_can_be_read_back_from_the_diagonal(series):
    diagonal = np.diagonal(angular_sum(series), axis1=1, axis2=2)
    np.testing.assert_allclose(np.sqrt((diagonal + 1) / 2), rescaled(series), atol=1e-3)


def test_a_peak_and_a_dip_look_different():
    series = np.array([[0.0, 1.0, 5.0, 2.0]])
    for field in (angular_sum, angular_difference):
        assert np.abs(field(-series) - field(series)).max() > 0.5


def test_constant_and_huge_series_are_drawn():
    assert rescaled([[7.0, 7.0]]).tolist() == [[0, 0]]
    assert angular_sum([[7.0, 7.0]])[0].tolist() == [[-1, -1], [-1, -1]]
    assert rescaled([[-1.7e308, 0.0, 1.7e308]]).tolist() == [[0, 0.5, 1]]


@settings(max_examples=40, deadline=None)
@given(series=arrays(np.float64, (2, 12), elements=st.floats(-100, 100)), size=st.integers(1, 12))
def test_a_shortened_series_keeps_its_mean(series, size):
    short = shortened(series, size)
    assert short.shape == (2, size)
    np.testing.assert_allclose(short.mean(axis=1), series.mean(axis=1), atol=1e-9)


def test_shortening_by_hand():
    assert shortened([[1.0, 3.0, 5.0, 7.0]], 2).tolist() == [[2, 6]]
    # Three into two: the middle one is shared.
    np.testing.assert_allclose(shortened([[0.0, 3.0, 6.0]], 2), [[1.0, 5.0]])


def test_images_have_a_channel_for_each_series():
    series = np.random.default_rng(0).standard_normal((300, 20))
    images = field_images([series, series, -series], ["sum", "difference", "sum"], size=10)
    assert images.shape == (300, 3, 10, 10)
    assert images.dtype == np.uint8
    short = shortened(series, 10)
    np.testing.assert_array_equal(images[:, 0], np.rint((angular_sum(short) + 1) * 127.5))
    np.testing.assert_array_equal(images[:, 1], np.rint((angular_difference(short) + 1) * 127.5))
    assert field_images([series[:0]], ["sum"], size=10).shape == (0, 1, 10, 10)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ([[1.0, math.nan]], "series-not-finite.*first in row 0"),
        ([[1.0, 2.0], [1.0, math.inf]], "series-not-finite.*first in row 1"),
        ([1.0, 2.0], "series-shape"),
        ([["a", "b"]], "series-shape"),
        (np.empty((3, 0)), "series-shape"),
    ],
    ids=["nan", "inf", "flat", "text", "empty"],
)
def test_what_cannot_be_drawn_is_refused(series, message):
    for draw in (angular_sum, angular_difference, lambda values: shortened(values, 1)):
        with pytest.raises(DataError, match=message):
            draw(series)


def test_images_that_do_not_fit_together_are_refused():
    series = np.ones((3, 4))
    with pytest.raises(ConfigError, match="one series and one kind"):
        field_images([series], ["sum", "sum"], size=4)
    with pytest.raises(ConfigError, match="'sum' or 'difference'"):
        field_images([series], ["product"], size=4)  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="same rows"):
        field_images([series, series[:2]], ["sum", "sum"], size=4)
    with pytest.raises(ConfigError, match="only be shortened"):
        field_images([series], ["sum"], size=5)
