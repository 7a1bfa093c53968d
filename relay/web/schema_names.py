"""The names of the schemas in the OpenAPI document; clients generate their types from them."""

from __future__ import annotations

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from relay.ledger.values import WaitReason
from relay.model import Kind, Origin, State, Trigger, Verdict
from relay.web import requests, responses

SCHEMA_NAMES: dict[type, str] = {
    Kind: "Kind",
    Origin: "Origin",
    State: "State",
    Trigger: "Trigger",
    Verdict: "Verdict",
    WaitReason: "WaitReason",
    requests.DeliveriesQuery: "DeliveriesQuery",
    requests.PageQuery: "PageQuery",
    requests.RetriggerBody: "RetriggerBody",
    requests.SubmissionBody: "SubmissionBody",
    responses.AttemptShape: "AttemptShape",
    responses.DeliveryPage: "DeliveryPage",
    responses.DeliveryShape: "DeliveryShape",
    responses.DeliveryStory: "DeliveryStory",
    responses.ErrorShape: "ErrorShape",
    responses.EventShape: "EventShape",
    responses.MessageShape: "MessageShape",
    responses.NotificationPage: "NotificationPage",
    responses.NotificationShape: "NotificationShape",
    responses.NotificationDetail: "NotificationWhole",
    responses.OverwrittenShape: "OverwrittenShape",
    responses.PlanShape: "PlanShape",
    responses.ProblemShape: "ProblemShape",
    responses.ReceiptShape: "ReceiptShape",
    responses.RequestedDelivery: "RequestedDelivery",
    responses.ScanShape: "ScanShape",
    responses.SourceList: "SourceList",
    responses.SourceShape: "SourceShape",
    responses.SubmissionShape: "SubmissionShape",
    responses.TargetList: "TargetList",
    responses.TargetShape: "TargetShape",
    responses.WaitingShape: "WaitingShape",
}
"""The published name of each type, which stays if the class is renamed."""

_BY_CLASS_NAME = {cls.__name__: name for cls, name in SCHEMA_NAMES.items()}


class NamedSchemas(GenerateJsonSchema):
    """Name schemas by SCHEMA_NAMES. A type that is missing there is a KeyError."""

    def normalize_name(self, name: str) -> str:
        return _BY_CLASS_NAME.get(name) or super().normalize_name(name)

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        return super().model_schema(schema) | {"title": SCHEMA_NAMES[schema["cls"]]}

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        return super().enum_schema(schema) | {"title": SCHEMA_NAMES[schema["cls"]]}
