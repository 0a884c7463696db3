"""One server for each user of a JupyterHub: the hub says where to listen, and who may come in."""

import os
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from traitlets.config import Config


@dataclass(frozen=True)
class Place:
    """Where the hub looks for the server it has started."""

    ip: str
    port: int
    base_url: str

    @classmethod
    def of_environment(cls) -> Self:
        """Return the place that the hub has put into the environment.

        Raises:
            KeyError: No hub has started this process.
        """
        url = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
        return cls(url.hostname or "0.0.0.0", url.port or 80, os.environ["JUPYTERHUB_SERVICE_PREFIX"])


def let_the_hub_decide(settings: Config) -> None:
    """Ask the hub who a visitor is, instead of asking the visitor for a token."""
    from jupyterhub.singleuser.extension import JupyterHubAuthorizer, JupyterHubIdentityProvider

    settings.Voila.identity_provider_class = JupyterHubIdentityProvider
    settings.Voila.authorizer_class = JupyterHubAuthorizer
