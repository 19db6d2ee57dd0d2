"""RoomKit's events as they are stored: without the members that are None, and yet the same again."""

from __future__ import annotations

import sys
import typing

import pytest
from pydantic import BaseModel

if sys.version_info < (3, 12):
    pytest.skip("RoomKit needs Python 3.12", allow_module_level=True)

from roomkit.models.channel import ChannelBinding
from roomkit.models.enums import ChannelType
from roomkit.models.event import (
    ChannelData,
    CompositeContent,
    EditContent,
    EventSource,
    LocationContent,
    RoomEvent,
    TextContent,
    ToolCallContent,
)
from roomkit.models.participant import Participant
from roomkit.models.room import Room

from mongostore import models
from mongostore.adapters.roomkit.conversions import from_event, to_event


def models_in(annotation: object, found: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """Return the models that are found so far, with one and those of its members, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in found:
        found.add(annotation)
        for field in annotation.model_fields.values():
            models_in(field.annotation, found)
    for argument in typing.get_args(annotation):
        models_in(argument, found)
    return found


def test_what_may_be_none_is_so_by_default():
    found = models_in(RoomEvent, set())
    assert {EventSource, ChannelData, TextContent, ToolCallContent} <= found
    for model in found:
        assert model.model_config.get("extra") is None, model
        for name, field in model.model_fields.items():
            if type(None) in typing.get_args(field.annotation):
                assert field.get_default(call_default_factory=True) is None, (model, name)


@pytest.mark.parametrize(
    ("record", "own", "names"),
    [
        (RoomEvent, models.Event, "change channel_id channel_type data participant_id target_event_id"),
        (Room, models.Room, "active_at data expires_at name"),
        (ChannelBinding, models.Binding, "data"),
        (Participant, models.RoomParticipant, "channel_ids data"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_roomkit_passes_over_the_members_that_it_does_not_know(record, own, names):
    assert own.model_fields.keys() - record.model_fields.keys() == set(names.split())
    assert record.model_config.get("extra") is None


@pytest.mark.parametrize(
    "content",
    [
        TextContent(body="hi"),
        CompositeContent(parts=[TextContent(body="here"), LocationContent(latitude=1.0, longitude=2.0)]),
        EditContent(target_event_id="e0", new_content=TextContent(body="hello", language="en")),
    ],
    ids=lambda content: content.type,
)
def test_an_event_comes_back_equal_with_all_that_is_none_in_it(content):
    nones = {"none": None, "nested": {"none": None}, "list": [None, {"none": None}]}
    event = RoomEvent(
        room_id="r",
        source=EventSource(channel_id="c", channel_type=ChannelType.SMS, raw_payload=nones),
        content=content,
        channel_data=ChannelData(extra=nones),
        metadata=nones,
        delivery_results=nones,
    )
    stored = from_event(event, "r")
    assert to_event(stored) == event
    assert "blocked_by" not in stored.data
