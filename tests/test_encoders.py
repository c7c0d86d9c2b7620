"""How data that is not a string becomes JSON."""

import dataclasses
import datetime
import decimal
import enum
import json
import uuid
from typing import Any

import pydantic
import pytest
from django.utils.functional import lazystr
from django.utils.timezone import get_fixed_timezone
from django.utils.translation import gettext_lazy

from django_sse.encoders import EventEncoder


@dataclasses.dataclass
class Point:
    x: int
    y: int


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    id: uuid.UUID
    at: Point
    opened: datetime.date


class Reading(pydantic.BaseModel):
    celsius: decimal.Decimal
    taken_at: datetime.datetime


class Room(pydantic.BaseModel):
    name: str
    readings: list[Reading]


class Dumped:
    """What pydantic's models have in common with other libraries' is one method."""

    def model_dump(self) -> dict[str, Any]:
        return {"at": Point(1, 2)}


UUID = uuid.UUID("c0ffee00-0000-4000-8000-000000000000")
MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(MOMENT, '"2026-01-02T03:04:05.678Z"', id="datetime"),
        pytest.param(
            MOMENT.astimezone(get_fixed_timezone(120)),
            '"2026-01-02T05:04:05.678+02:00"',
            id="datetime-with-offset",
        ),
        pytest.param(datetime.date(2026, 1, 2), '"2026-01-02"', id="date"),
        pytest.param(datetime.time(3, 4, 5), '"03:04:05"', id="time"),
        pytest.param(datetime.timedelta(hours=1), '"P0DT01H00M00S"', id="timedelta"),
        pytest.param(decimal.Decimal("1.10"), '"1.10"', id="decimal"),
        pytest.param(UUID, f'"{UUID}"', id="uuid"),
        pytest.param(lazystr("later"), '"later"', id="lazy"),
        pytest.param(gettext_lazy("Yes"), '"Yes"', id="lazy-translation"),
        pytest.param(Point(1, 2), '{"x": 1, "y": 2}', id="dataclass"),
        pytest.param(
            Place(UUID, Point(1, 2), datetime.date(2026, 1, 2)),
            f'{{"id": "{UUID}", "at": {{"x": 1, "y": 2}}, "opened": "2026-01-02"}}',
            id="dataclass-with-slots-and-others-inside",
        ),
        pytest.param(Dumped(), '{"at": {"x": 1, "y": 2}}', id="model-dump"),
        pytest.param(
            Room(name="a", readings=[Reading(celsius=decimal.Decimal("20.5"), taken_at=MOMENT)]),
            '{"name": "a", "readings":'
            ' [{"celsius": "20.5", "taken_at": "2026-01-02T03:04:05.678901Z"}]}',
            id="pydantic",
        ),
        pytest.param(
            [Point(1, 2), {"at": UUID}], f'[{{"x": 1, "y": 2}}, {{"at": "{UUID}"}}]', id="inside"
        ),
    ],
)
def test_encoder_writes(value: object, expected: str) -> None:
    """Django's types as Django writes them, dataclasses and models as their own fields."""
    assert json.dumps(value, cls=EventEncoder) == expected


@pytest.mark.parametrize("value", [object(), {1, 2}, b"a", 1j, Point, Room, Dumped, print])
def test_encoder_refuses_the_rest(value: object) -> None:
    """Classes are no values, even of the kinds whose instances are."""
    with pytest.raises(TypeError, match="is not JSON serializable"):
        json.dumps(value, cls=EventEncoder)


def test_encoder_ignores_a_model_dump_that_is_no_method() -> None:
    """Data that happens to have the name is not called."""

    class Odd:
        model_dump = "a string"

    with pytest.raises(TypeError, match="Odd is not JSON serializable"):
        json.dumps(Odd(), cls=EventEncoder)


def test_encoder_takes_what_pydantic_alone_can_write() -> None:
    """Enums, sets and URLs of a pydantic model are written in the types that JSON has."""

    class Colour(enum.Enum):
        RED = "red"

    class Paint(pydantic.BaseModel):
        colour: Colour
        layers: set[int]
        link: pydantic.HttpUrl

    paint = Paint(colour=Colour.RED, layers={1}, link=pydantic.HttpUrl("https://example.com/a"))
    assert json.loads(json.dumps(paint, cls=EventEncoder)) == {
        "colour": "red",
        "layers": [1],
        "link": "https://example.com/a",
    }
