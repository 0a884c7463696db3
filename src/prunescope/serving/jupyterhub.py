"""One server per user of a JupyterHub: the hub decides where to listen, and who has access."""

import os
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from traitlets.config import Config


@dataclass(frozen=True)
class HubAddress:
    """The address at which the hub expects the server."""

    ip: str
    port: int
    base_url: str

    @classmethod
    def of_environment(cls) -> Self:
        """Read the address that the hub has set in the environment.

        Raises:
            KeyError: This process was not started by a hub.
        """
        url = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
        return cls(url.hostname or "0.0.0.0", url.port or 80, os.environ["JUPYTERHUB_SERVICE_PREFIX"])


def let_the_hub_decide(settings: Config) -> None:
    """Authenticate visitors through the hub instead of with a token."""
    from jupyterhub.singleuser.extension import JupyterHubAuthorizer, JupyterHubIdentityProvider

    settings.Voila.identity_provider_class = JupyterHubIdentityProvider
    settings.Voila.authorizer_class = JupyterHubAuthorizer
