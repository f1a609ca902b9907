"""The choice among sets: who is asked, what proof is preferred, and when a lucky set is not believed."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from leanrisk.core.progress import Silent
from leanrisk.models.gbdt_attribution import Attribution
from leanrisk.techniques.select.choice import Choice
from leanrisk.techniques.select.curve import Point, cheapest, decided
from leanrisk.techniques.select.elimination import Round
from leanrisk.techniques.select.prices import Basket


@dataclass(frozen=True)
class Said:
    """A difference with its lower bound."""

    name: str
    value: float
    lo: float
    margin: float


def said(ks, ks_lo, auc=0.0, auc_lo=-0.02):
    return Said("auc", auc, auc_lo, -0.005), Said("ks", ks, ks_lo, -0.015)


WHOLE = said(0.0, 0.0, 0.0, 0.0)
PROVEN, LEVEL, BEYOND, LOST = said(0.0, -0.01), said(-0.005, -0.03), said(-0.02, -0.05), said(-0.04, -0.05)


def point(features, judged, money=0.0):
    found = Attribution(np.zeros(1), np.zeros(1), np.zeros(1), 1.0)
    return Point(Round(np.arange(features), found), Basket(money, 0.0, features), 0.3, 0.7, None, judged, steady=True)


def chosen(*of):
    found = cheapest([point(10 - place, judged) for place, judged in enumerate(of)])
    assert found is not None
    return found.basket.features


def test_a_proven_ks_goes_before_a_smaller_set_that_only_passes():
    assert decided(point(3, PROVEN))
    assert not decided(point(3, LEVEL))
    assert chosen(WHOLE, PROVEN, LEVEL) == 9
    assert chosen(WHOLE, LEVEL, LEVEL) == 8, "without proof the cheapest that the gate would take"
    assert chosen(WHOLE, BEYOND, BEYOND) == 10


def test_another_metric_must_not_speak_against_a_proven_ks():
    assert chosen(WHOLE, said(0.0, -0.01, auc=-0.006, auc_lo=-0.02)) == 10


def test_a_set_is_not_believed_where_the_next_larger_one_has_lost():
    assert chosen(WHOLE, LOST, PROVEN) == 10
    assert chosen(WHOLE, BEYOND, said(0.01, -0.01)) == 8, "their mean uses up less than half of the margin"
    assert chosen(WHOLE, BEYOND, PROVEN) == 10, "their mean uses up more"


def test_money_decides_among_proven_sets():
    points = [point(10, WHOLE, 9.0), point(8, PROVEN, 5.0), point(7, PROVEN, 5.0)]
    assert cheapest(points) is points[2]
    assert cheapest(points, lambda basket: basket.features >= 8) is points[1]


class Scripted:
    """Answers for the validation rows, and remembers who was asked."""

    def __init__(self, says):
        self.says, self.asked = says, []

    def confirmed(self, asked, names):
        self.asked.append(asked.basket.features)
        return replace(asked, valid=self.says[asked.basket.features], valid_ks=0.3)

    def averaged(self, asked, names):
        return replace(asked, averaged=self.says[asked.basket.features])


def asked(says):
    referee = Scripted(says)
    points = [point(features, LEVEL if features < 10 else WHOLE) for features in says]
    found = Choice(referee, [], lambda basket: True).asked(points, Silent())
    return referee.asked, [each.basket.features for each in found if each.valid]


def test_validation_is_asked_from_the_smallest_set_up_until_one_is_proven_and_borne_out():
    assert asked({10: WHOLE, 8: PROVEN, 6: LEVEL, 4: PROVEN, 2: LOST}) == ([10, 2, 4, 6], [10, 6, 4, 2])


def test_where_nothing_is_proven_every_set_is_asked():
    assert asked({10: WHOLE, 8: LEVEL, 6: LEVEL, 4: BEYOND})[0] == [10, 4, 6, 8]


def test_asking_less_changes_nothing_in_what_is_chosen():
    says = {10: WHOLE, 8: PROVEN, 6: LEVEL, 4: PROVEN, 2: LOST}
    points = [point(features, LEVEL if features < 10 else WHOLE) for features in says]
    choice = Choice(Scripted(says), [], lambda basket: True)
    every = [replace(each, valid=says[each.basket.features], valid_ks=0.3) for each in points]
    told = [choice.best(those, Silent())[0].basket for those in (choice.asked(points, Silent()), every)]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("larger", "smaller", "features"),
    [
        # Unlucky in its one fit, the larger set would drag the smaller one down with it.
        ((-0.012, -0.012), (0.0, -0.001), 10),
        ((-0.012, -0.002), (0.0, -0.001), 8),
        # Lucky in its one fit, the smaller set is not what it seems.
        ((-0.001, -0.001), (0.002, -0.008), 9),
        # What would be deployed is the one fit: it must pass itself.
        ((-0.001, -0.001), (-0.009, 0.001), 9),
    ],
)
def test_luck_of_a_single_fit_neither_saves_a_set_nor_fells_its_neighbour(larger, smaller, features):
    points = [
        replace(point(10 - place, said(0.0, -0.03, auc=one)), averaged=said(0.0, -0.03, auc=mean))
        for place, (one, mean) in enumerate([(0.0, 0.0), larger, smaller])
    ]
    found = cheapest(points)
    assert found is not None
    assert found.basket.features == features
