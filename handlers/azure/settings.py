"""Settings of kind azure, and the credential they select."""

from __future__ import annotations

import base64
import binascii
import re
from functools import partial
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from relay.config import validators as rules
from relay.config.load import SourceSettings
from relay.config.senders import Secret
from relay.handlers.azure.auth import Sas, SharedKey, app_token_fetcher, identity_token_fetcher
from relay.outbound.credentials import Anonymous, Bearer, Credential
from relay.sources.http_storage import Address, HttpSettings

_SAS = re.compile(r"[\x21\x22\x24-\x7e]{10,4096}")
_GUID = r"^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$"


def _sas(token: SecretStr | None) -> SecretStr | None:
    if token is None:
        return None
    text = token.get_secret_value().removeprefix("?")
    if not _SAS.fullmatch(text) or "sig=" not in text:
        raise ValueError('should be a shared access signature: "sv=...&sig=..."')
    return SecretStr(text)


def _key(key: SecretStr | None) -> SecretStr | None:
    if key is not None:
        try:
            base64.b64decode(key.get_secret_value(), validate=True)
        except (ValueError, binascii.Error):
            raise ValueError("should be one of the account's access keys, in base64") from None
    return key


QueueAddress = Annotated[
    str,
    AfterValidator(
        partial(rules.checked_url, example="https://ACCOUNT.queue.core.windows.net/NAME")
    ),
]
SasToken = Annotated[Secret, AfterValidator(_sas)]


class AzureSettings(HttpSettings):
    """Without credentials, the managed identity of Relay's machine applies."""

    accept: tuple[str, ...] = Field(
        ("azure", "signed", "bare"), description=SourceSettings.model_fields["accept"].description
    )
    account: str | None = Field(
        None,
        pattern="^[a-z0-9]{3,24}$",
        description="the storage account's name: 3 to 24 a-z and 0-9",
    )
    endpoint_url: Address | None = Field(
        None,
        description="the account's address, if not https://ACCOUNT.blob.core.windows.net; Azurite: "
        "http://127.0.0.1:10000/devstoreaccount1",
    )
    sas_token: SasToken = Field(
        None, description="a shared access signature with the permissions read and list"
    )
    account_key: Annotated[Secret, AfterValidator(_key)] = Field(
        None, description="one of the account's access keys"
    )
    tenant: str | None = Field(
        None, pattern=_GUID, description="the Entra tenant of the app: id or domain"
    )
    client_id: str | None = Field(
        None,
        pattern=_GUID,
        description="the id of the app, or of a managed identity",
    )
    client_secret: Secret = Field(None, description="the app's secret")
    login_url: Address = Field(
        "https://login.microsoftonline.com", description="the address of the app's token service"
    )
    identity_url: Address = Field(
        "http://169.254.169.254", description="the address of the managed identity service"
    )
    queue_url: QueueAddress | None = Field(
        None,
        description="the Storage queue to pull from, beside or instead of the hook: "
        "https://ACCOUNT.queue.core.windows.net/NAME",
    )
    queue_sas_token: SasToken = Field(
        None,
        description="a shared access signature of the queue with the permissions read and process; "
        "by default, the credentials of the source",
    )
    renames: bool = Field(
        False, description="whether a renamed blob (Data Lake, SFTP) counts as a new blob"
    )

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if not (self.account or self.endpoint_url):
            raise ValueError("set account, or endpoint_url")
        if self.account_key and not self.account:
            raise ValueError("account_key needs account")
        if self.client_secret and not (self.tenant and self.client_id):
            raise ValueError("client_secret needs tenant and client_id")
        credentials = (self.sas_token, self.account_key, self.client_secret, self.anonymous)
        if sum(map(bool, credentials)) > 1:
            raise ValueError("set one of sas_token, account_key, client_secret and anonymous")
        return self

    @property
    def blobs(self) -> str:
        """The address of the Blob service."""
        return self.endpoint_url or f"https://{self.account}.blob.core.windows.net"


def credential(settings: AzureSettings) -> Credential:
    """The credential that the settings select."""
    if settings.anonymous:
        return Anonymous()
    if settings.sas_token:
        return Sas(settings.sas_token.get_secret_value())
    if settings.account_key:
        key = base64.b64decode(settings.account_key.get_secret_value())
        return SharedKey(settings.account or "", key)
    if settings.client_secret:
        secret = settings.client_secret.get_secret_value()
        app = (settings.tenant or "", settings.client_id or "", secret)
        return Bearer(app_token_fetcher(settings.login_url, *app))
    return Bearer(identity_token_fetcher(settings.identity_url, settings.client_id))
