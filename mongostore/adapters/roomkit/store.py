"""RoomKit's `ConversationStore`, whole: rooms and events are inherited, the rest is here."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from roomkit.core.exceptions import AddressLinkedError, IdentityNotFoundError
from roomkit.models.enums import VerificationStatus
from roomkit.models.identity import Identity
from roomkit.models.task import Observation, Task
from roomkit.models.verification import Verification, VerificationRequest
from roomkit.models.voice_delivery import VoiceDeliveryRecord
from roomkit.store.base import address_linked

from mongostore.adapters.roomkit.conversions import (
    from_delivery,
    from_identity,
    from_observation,
    from_request,
    from_task,
    from_verification,
    read_all,
    to_delivery,
    to_identity,
    to_observation,
    to_request,
    to_task,
    to_verification,
)
from mongostore.adapters.roomkit.events import EventMethods
from mongostore.adapters.roomkit.rooms import collect
from mongostore.errors import ConflictError, NotFoundError


class MongoConversationStore(EventMethods):
    """RoomKit's conversations in MongoDB, to be shared by any number of processes.

    Connects in `init`, or when it is first used. The methods do what RoomKit's contract promises; a refusal
    of the database is a `MongoStoreError`, such as an `AlreadyExistsError` for an event's id
    that is taken. Serve rooms from several processes with a `MongoRoomLockManager`.

    Args:
        uri: As for `AsyncMongoStore`; else `MONGOSTORE_URI`.
        database: Likewise.
        store: An open store to use instead; it stays open when this one is closed.
    """

    async def init(self) -> None:
        """Connect and create missing indexes.

        Raises:
            MongoStoreError: The store cannot be opened.
        """
        await self._user.get()

    async def close(self) -> None:
        """Leave the database; closing twice is harmless, and a later call connects again."""
        await self._user.close()

    async def __aenter__(self) -> Self:
        await self.init()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def create_identity(self, identity: Identity) -> Identity:
        store = await self._user.get()
        try:
            await store.rooms.identities.create(from_identity(identity))
        except ConflictError as error:
            raise AddressLinkedError(str(error)) from None
        return identity

    async def get_identity(self, identity_id: str) -> Identity | None:
        store = await self._user.get()
        found = await store.rooms.identities.find(identity_id)
        return None if found is None else to_identity(found)

    async def resolve_identity(
        self, channel_type: str, address: str, organization_id: str | None = None
    ) -> Identity | None:
        store = await self._user.get()
        found = await store.rooms.identities.find_by_address(
            str(channel_type), address, organization_id=organization_id
        )
        return None if found is None else to_identity(found)

    async def link_address(
        self, identity_id: str, channel_type: str, address: str, organization_id: str | None = None
    ) -> None:
        store = await self._user.get()
        try:
            await store.rooms.identities.link_address(
                identity_id, str(channel_type), address, organization_id=organization_id
            )
        except NotFoundError:
            raise _not_found_error(identity_id) from None
        except ConflictError:
            raise address_linked(channel_type) from None

    async def unlink_address(
        self, identity_id: str, channel_type: str, address: str, organization_id: str | None = None
    ) -> None:
        store = await self._user.get()
        try:
            await store.rooms.identities.unlink_address(
                identity_id, str(channel_type), address, organization_id=organization_id
            )
        except NotFoundError:
            raise _not_found_error(identity_id) from None

    async def get_verification(
        self, identity_id: str, organization_id: str | None = None
    ) -> Verification | None:
        store = await self._user.get()
        found = await store.rooms.verifications.find(identity_id, organization_id=organization_id)
        return None if found is None else to_verification(found)

    async def put_verification(self, verification: Verification) -> Verification:
        store = await self._user.get()
        await store.rooms.verifications.upsert(from_verification(verification))
        return verification

    async def list_verifications_in_force(self) -> list[Verification]:
        store = await self._user.get()
        verified = await collect(store.rooms.verifications.iter_expiring, str(VerificationStatus.VERIFIED))
        return read_all(to_verification, verified)

    async def create_verification_request(self, request: VerificationRequest) -> VerificationRequest:
        store = await self._user.get()
        await store.rooms.verifications.requests.create(from_request(request))
        return request

    async def get_verification_request(self, request_id: str) -> VerificationRequest | None:
        store = await self._user.get()
        found = await store.rooms.verifications.requests.find(request_id)
        return None if found is None else to_request(found)

    async def update_verification_request(self, request: VerificationRequest) -> VerificationRequest:
        store = await self._user.get()
        await store.rooms.verifications.requests.upsert(from_request(request))
        return request

    async def add_task(self, task: Task) -> Task:
        store = await self._user.get()
        await store.rooms.tasks.create(task.room_id, from_task(task))
        return task

    async def get_task(self, task_id: str) -> Task | None:
        store = await self._user.get()
        task = await store.rooms.tasks.find_by_id(task_id)
        return None if task is None else to_task(task)

    async def list_tasks(self, room_id: str, status: str | None = None) -> list[Task]:
        store = await self._user.get()
        tasks = await collect(store.rooms.tasks.iter, room_id, status=None if status is None else str(status))
        return read_all(to_task, tasks)

    async def update_task(self, task: Task) -> Task:
        store = await self._user.get()
        await store.rooms.tasks.upsert(task.room_id, from_task(task))
        return task

    async def add_observation(self, observation: Observation) -> Observation:
        store = await self._user.get()
        await store.rooms.observations.create(observation.room_id, from_observation(observation))
        return observation

    async def list_observations(self, room_id: str) -> list[Observation]:
        store = await self._user.get()
        observations = await collect(store.rooms.observations.iter, room_id)
        return read_all(to_observation, observations)

    async def get_voice_delivery(self, room_id: str, key_hash: str) -> VoiceDeliveryRecord | None:
        store = await self._user.get()
        found = await store.rooms.voice_deliveries.find(room_id, key_hash)
        return None if found is None else to_delivery(found)

    async def claim_voice_delivery(self, record: VoiceDeliveryRecord) -> VoiceDeliveryRecord:
        store = await self._user.get()
        try:
            return to_delivery(
                await store.rooms.voice_deliveries.claim(record.room_id, from_delivery(record))
            )
        except NotFoundError:
            raise ValueError("Room does not exist") from None

    async def complete_voice_delivery(self, record: VoiceDeliveryRecord) -> bool:
        store = await self._user.get()
        return await store.rooms.voice_deliveries.complete(record.room_id, from_delivery(record))


def _not_found_error(identity_id: str) -> IdentityNotFoundError:
    return IdentityNotFoundError(f"Identity {identity_id} not found")
