"""Deleting what has expired, and what is idle or old: `store.retention`."""

from mongostore.retention.retention import AsyncRetention
from mongostore.retention.worker import RetentionWorker

__all__ = ["AsyncRetention", "RetentionWorker"]
