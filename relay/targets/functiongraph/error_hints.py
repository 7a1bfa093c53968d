"""Advice for each known error code of FunctionGraph and the API gateway.

Sources: "Error Codes" in the FunctionGraph API reference (FSS.*) and in the API Signing Guide
(APIGW.*; APIG.* is the same table for dedicated gateways). All codes of a row share the advice.
"""

from __future__ import annotations

from relay.model import Localized

_ROWS: dict[str, Localized] = {
    "FSS.1061 FSS.0409": Localized(
        "Set on_conflict to update or rename, or delete the function in FunctionGraph.",
        "请将 on_conflict 设为 update 或 rename，或先在 FunctionGraph 删除该函数。",
    ),
    "FSS.1064 FSS.1065": Localized(
        "The app or dependency in the export already exists: rename or delete it, then retrigger.",
        "导出包中的应用或依赖包已存在：请改名或删除后重新触发。",
    ),
    "FSS.0400 FSS.1001": Localized(
        "Compare the exported YAML with the API reference, or export the function again.",
        "请对照 API 文档检查导出包中的 YAML，或重新导出该函数。",
    ),
    "FSS.1002": Localized(
        "Set func_name in the route. A name has 1-60 letters, digits, - and _, starts with a letter"
        " and ends with a letter or digit.",
        "请在路由中设置 func_name：1-60 个字母、数字、- 或 _，以字母开头，以字母或数字结尾。",
    ),
    "FSS.1003": Localized(
        "Correct Handler in the YAML of the export: file.function, up to 128 characters.",
        "请修正导出包 YAML 中的 Handler：形如 file.function，不超过 128 个字符。",
    ),
    "FSS.1004 FSS.1027": Localized(
        "Set package in the route to letters, digits and _.",
        "请将路由中的 package 设为字母、数字和 _ 的组合。",
    ),
    "FSS.1005": Localized(
        "The region does not support the Runtime in the exported YAML: use a supported one.",
        "该区域不支持导出包 YAML 中的 Runtime，请改用受支持的运行时。",
    ),
    "FSS.1006 FSS.1007 FSS.1008 FSS.1009 FSS.1026 FSS.1404 FSS.1405": Localized(
        "Correct CodeType, MemorySize, Timeout, concurrency or Initializer in the exported YAML.",
        "请修正导出包 YAML 中的 CodeType、MemorySize、Timeout、并发数或 Initializer 设置。",
    ),
    "FSS.1010 FSS.1011 FSS.1012 FSS.1013": Localized(
        "The code in the export is missing or has a wrong type: export the function again.",
        "导出包中的代码缺失或类型不正确：请重新导出该函数。",
    ),
    "FSS.1017 FSS.1018": Localized(
        "Reduce Environment in the exported YAML to at most 20 variables and a few KB in total.",
        "请精简导出包 YAML 中的 Environment：最多 20 个变量，总计数 KB。",
    ),
    "FSS.1019": Localized(
        "Shorten Description in the exported YAML to 512 characters.",
        "请将导出包 YAML 中的 Description 缩短到 512 个字符以内。",
    ),
    "FSS.1022": Localized(
        "The zip must contain exactly one YAML file in addition to the code: remove the others.",
        "zip 中除代码外只能有一个 YAML 文件：请删除多余的文件。",
    ),
    "FSS.1023 FSS.0413 FSS.1071 FSS.1201": Localized(
        "Reduce the code size (move libraries into dependencies), or upload it from OBS manually.",
        "请减小代码包（将库移入依赖包），或手动改用 OBS 上传代码。",
    ),
    "FSS.1024 FSS.1032 FSS.0424 FSS.1046 FSS.1056": Localized(
        "The dependency package named in the export must exist and be readable in the region.",
        "导出包引用的依赖包必须在该区域存在且可读取。",
    ),
    "FSS.1025 FSS.1057 FSS.1058": Localized(
        "The YAML differs from the FunctionGraph export format: export the function again. The app"
        " and the function must have different names.",
        "导出包中的 YAML 与 FunctionGraph 导出的格式不符：请重新导出，且应用名与函数名不能相同。",
    ),
    "FSS.1034 FSS.1035 FSS.1036 FSS.1037 FSS.1038 FSS.1039 FSS.1050": Localized(
        "The image, VPC, subnet or mount named in the export does not exist: create it in the"
        " region, or remove it from the YAML.",
        "导出包引用的镜像、VPC、子网或挂载不存在：请在该区域创建，或从 YAML 中移除。",
    ),
    "FSS.1090 FSS.1095": Localized(
        "A resource of the function is not ready yet; Relay retries.",
        "函数依赖的资源尚未就绪，Relay 会重试。",
    ),
    "FSS.1041 FSS.1042 FSS.1044 FSS.1045 FSS.1047 FSS.1048": Localized(
        "A quota is exhausted: delete functions or versions, or request more, then retrigger.",
        "配额已用尽：请删除函数或版本，或申请提升配额，然后重新触发。",
    ),
    "FSS.1051 FSS.1052": Localized(
        "The function does not exist or was deleted: check this, then retrigger.",
        "函数不存在或已被删除：请确认后重新触发。",
    ),
    "FSS.1055": Localized(
        "Create the app in FunctionGraph, or set package = default in the route.",
        "请先在 FunctionGraph 创建该应用，或在路由中设置 package = default。",
    ),
    "FSS.0406": Localized(
        "The service could not parse the request as JSON: please report this.",
        "服务端未能按 JSON 解析请求，请反馈该问题。",
    ),
    "FSS.0401": Localized(
        "Check the credentials and project_id of the target, and the user's permissions for"
        " FunctionGraph in the project.",
        "请检查目标的凭证与 project_id，并确认该用户在此项目中有 FunctionGraph 权限。",
    ),
    "FSS.0403 FSS.1121 FSS.1122 FSS.1125 FSS.1126 FSS.1127": Localized(
        "Grant the IAM user permission to create and update functions in the project. An agency"
        " named in the export must exist and be authorized.",
        "请为该 IAM 用户授予在此项目中创建和更新函数的权限；导出包引用的委托必须存在且已授权。",
    ),
    "FSS.0426 FSS.0428": Localized(
        "FunctionGraph requires a setting that must first be made in the console.",
        "FunctionGraph 要求先在控制台完成相应设置。",
    ),
    "FSS.0429 APIGW.0308": Localized(
        "Too many requests; Relay waits. If this recurs, lower concurrency or set rate.",
        "请求过于频繁，Relay 会等待。若反复出现，请降低 concurrency 或设置 rate。",
    ),
    "FSS.0408 FSS.0500 FSS.0502 FSS.0503 FSS.0504": Localized(
        "FunctionGraph is temporarily failing; Relay checks the result and retries.",
        "FunctionGraph 暂时异常，Relay 会查询结果并重试。",
    ),
    "APIGW.0101 APIGW.0103": Localized(
        "This endpoint does not provide FunctionGraph: check region and endpoint.",
        "该端点未提供 FunctionGraph，请检查 region 与 endpoint。",
    ),
    "APIGW.0104 APIGW.0105 APIGW.0106 APIGW.0602 APIGW.0607": Localized(
        "The gateway did not accept the request: check region, project_id and endpoint.",
        "网关未接受请求：请检查 region、project_id 与 endpoint。",
    ),
    "APIGW.0301": Localized(
        "Check access_key and secret_key (and security_token), and the clock of this machine"
        " (limit: 15 minutes). Huawei Cloud locks a key after repeated failures.",
        "请检查 access_key、secret_key（及 security_token）与本机时钟：偏差不得超过 15 分钟。"
        "连续失败会导致密钥被锁定。",
    ),
    "APIGW.0302 APIGW.0304 APIGW.0306 APIGW.0310 APIGW.0401 APIGW.0402 APIGW.0404 APIGW.0801"
    " APIGW.0802": Localized(
        "The user is not authorized: check the IAM permissions, project_id and region.",
        "该用户无权执行此操作：请检查 IAM 权限、project_id 与 region。",
    ),
    "APIGW.0303 APIGW.0305 APIGW.0311": Localized(
        "This endpoint requires app credentials, unlike FunctionGraph: check endpoint.",
        "该端点要求应用凭证，并非 FunctionGraph 的端点：请检查 endpoint。",
    ),
    "APIGW.0307": Localized(
        "A new token was also rejected: check that region and project_id match, and that the"
        " password of the IAM user has not changed.",
        "新令牌仍被拒绝：请确认 region 与 project_id 匹配，且 IAM 用户密码未变更。",
    ),
    "APIGW.0501 APIGW.0502": Localized(
        "The account is frozen or over quota: resolve this in the billing console.",
        "账号被冻结或超出配额：请在费用中心处理。",
    ),
    "APIGW.0601 APIGW.0605 APIGW.0606 APIGW.0608 APIGW.0609 "
    "APIGW.0610 APIGW.0611 APIGW.0613": Localized(
        "The gateway is temporarily failing; Relay checks the result and retries.",
        "网关暂时异常，Relay 会查询结果并重试。",
    ),
}

TOO_LARGE_FOR_A_SIGNATURE = Localized(
    "Requests over 12 MB need a token: set iam_user, iam_password and iam_domain as well.",
    "超过 12 MB 的请求需要使用 Token，请同时配置 iam_user、iam_password 和 iam_domain。",
)
LOCKED = Localized(
    "Huawei Cloud locks a key or an account after repeated failures. Relay waits until the lock"
    " ends. Check the credentials of the target, and whether another program uses the key with a"
    " wrong secret.",
    "连续认证失败后，华为云会锁定密钥或账号，Relay 会等到解锁后再试。请检查该目标的凭证，"
    "并确认没有其他程序使用该密钥和错误的 SK。",
)
_HEADERS_TOO_LARGE = Localized(
    "The token or the URL exceeds the limit of the gateway: set access_key and secret_key, so that"
    " small requests need no token, or use an IAM user with fewer permissions.",
    "Token 或 URL 超出网关限制：请配置 access_key 与 secret_key，使小请求无需 Token，"
    "或使用权限更少的 IAM 用户。",
)

HINTS: dict[str, Localized] = {
    code: hint for codes, hint in _ROWS.items() for code in codes.split()
}
"""Advice by code. Gateway codes are spelled APIGW."""

_GATEWAY_FAILURE = HINTS["APIGW.0601"]
BY_STATUS: dict[tuple[int, str], Localized] = {
    (400, "APIGW.0201"): HINTS["APIGW.0104"],
    (413, "APIGW.0201"): TOO_LARGE_FOR_A_SIGNATURE,
    (414, "APIGW.0201"): _HEADERS_TOO_LARGE,
    (494, "APIGW.0201"): _HEADERS_TOO_LARGE,
    (502, "APIGW.0201"): _GATEWAY_FAILURE,
    (504, "APIGW.0201"): _GATEWAY_FAILURE,
}
"""Advice by status and code, for the code that is ambiguous without a status."""
