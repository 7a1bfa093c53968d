"""An issuer of JWTs with real keys, and a hook with a real ledger."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.config.load import Settings
from relay.errors import TemporaryFailure
from relay.handlers.s3 import Handler
from relay.intake.intake import Intake
from relay.model import Incoming

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
AUDIENCE = "https://relay.example.com/hooks/exports"
EMAIL = "push@my-project.iam.gserviceaccount.com"
TENANT = "7a0a1c6e-1c2d-4b0e-9f6a-0d6c1b1f2a3b"
APP = "4962773b-9cdb-44cf-a8bf-237846a00ab7"
GOOGLE_KEYS = "https://www.googleapis.com/oauth2/v3/certs"
ENTRA_KEYS = f"https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys"

OIDC = {"oidc_audience": AUDIENCE, "oidc_email": EMAIL}
ENTRA = {"entra_tenant": TENANT, "entra_audience": "api://relay"}


def new_key(bits=2048):
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def google(**claims):
    """The claims of a Google token, from "Authentication for push subscriptions"."""
    return {
        "aud": AUDIENCE,
        "azp": "113774264463038321964",
        "email": EMAIL,
        "sub": "113774264463038321964",
        "email_verified": True,
        "exp": int((NOW + HOUR).timestamp()),
        "iat": int(NOW.timestamp()),
        "iss": "https://accounts.google.com",
        **claims,
    }


def entra(**claims):
    """The claims of an Entra token, version 1."""
    claims = {
        "aud": "api://relay",
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": int(NOW.timestamp()),
        "nbf": int(NOW.timestamp()),
        "exp": int((NOW + HOUR).timestamp()),
        "appid": APP,
        "tid": TENANT,
        **claims,
    }
    return {name: value for name, value in claims.items() if value is not None}


def part(value):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


class Issuer:
    """Signs tokens, and serves the public keys."""

    def __init__(self, key):
        self.keys = {"k1": key}
        self.more = []  # other members of the key set
        self.fetched = []
        self.down = False
        self.body = None

    def fetch(self, url):
        self.fetched.append(url)
        if self.down:
            raise TemporaryFailure("fetch.refused", "down")
        return self.key_set() if self.body is None else self.body

    def key_set(self):
        return json.dumps({"keys": [*self.more, *map(jwk, self.keys, self.keys.values())]}).encode()

    def token(self, claims, *, kid="k1", key=None, **head):
        return jwt.encode(claims, key or self.keys["k1"], "RS256", {"kid": kid, **head})

    def unsigned(self, claims, alg="none"):
        return f"{part({'alg': alg, 'typ': 'JWT', 'kid': 'k1'})}.{part(claims)}."

    def confused(self, claims):
        """A token signed with HMAC, with the public key as the secret."""
        public = self.keys["k1"].public_key()
        secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        text = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'k1'})}.{part(claims)}"
        return f"{text}.{part(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def jwk(kid, key):
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {"kty": "RSA", "use": "sig", "kid": kid, "n": public["n"], "e": public["e"]}


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def request(body=b"", headers=None, *, query=None, method="POST", now=NOW):
    """A request to the hook; a body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Incoming("exports", raw, now, method=method, query=query or {}, headers=headers or {})


class Hook:
    """The hook of a source, with a ledger. `handler` only reads records."""

    def __init__(self, ledger, fetch, handler, **keys):
        self.ledger = ledger
        source = Handler.Settings(kind="s3", region="us-east-1", **keys)
        self.intake = Intake(
            Settings(sources={"exports": source}),
            ledger.intake,
            ledger.history,
            {"exports": handler},
            clock=lambda: NOW,
            fetch=fetch,
        )

    def accept(self, incoming):
        return self.intake.accept(incoming)

    def stored(self):
        return self.ledger.history.notifications(limit=50, cursor=None).items
