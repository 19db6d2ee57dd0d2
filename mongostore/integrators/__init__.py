"""Integrators, which make insights of the chat turns of a session's participants."""

from __future__ import annotations

from mongostore.errors import ConfigurationError
from mongostore.models import Integrator
from mongostore.settings import IntegratorName, Settings


def integrator_for(settings: Settings, name: IntegratorName | None = None) -> Integrator:
    """Return an integrator, the one that the settings choose unless another is named.

    Raises:
        ConfigurationError: If a package or a setting that it needs is missing.
    """
    # Imported here, since each needs packages of its own.
    if (name or settings.integrator) is IntegratorName.KEYWORDS:
        from mongostore.integrators.keywords import KeywordIntegrator

        return KeywordIntegrator()
    try:
        from mongostore.integrators.openai import OpenAIIntegrator
    except ImportError:
        raise ConfigurationError("the integrator openai needs mongostore[openai]") from None
    if settings.openai_model is None:
        raise ConfigurationError("the integrator openai needs MONGOSTORE_OPENAI_MODEL")
    key = settings.openai_api_key
    return OpenAIIntegrator(
        settings.openai_model,
        base_url=settings.openai_base_url,
        api_key=None if key is None else key.get_secret_value(),
    )
