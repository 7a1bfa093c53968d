"""The retrigger link of a message with real processes: preview, first use, second use."""

import requests

from relay.model import Kind, State
from relay.testing.sandbox.exports import make_export
from tests.end_to_end.world import free_port, until


def test_the_link_of_a_failed_import_retriggers_it_once(world):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    tokens = '\n[api]\ntokens = ["token-of-the-api"]\n'
    world.path.write_text(f'public_url = "{url}"\n{world.path.read_text()}{tokens}')
    world.announce_uploads()
    world.process("serve", "--port", str(port))
    world.upload(body=make_export("hello")[:-40])
    [failed] = world.settled()
    assert failed.state == State.FAILED
    [message] = world.webhook_messages()
    link = message.json["data"]["links"]["retrigger"]
    assert link.startswith(f"{url}/links/")
    assert link not in str([delivery.message for delivery in world.deliveries(Kind.MESSAGE)])

    preview = requests.get(link, timeout=10)
    assert preview.status_code == 200
    assert preview.headers["cache-control"] == "no-store"
    assert world.ledger.history.delivery(failed.id).attempts == 1

    assert requests.post(link, timeout=10).status_code == 200
    until(lambda: world.ledger.history.delivery(failed.id).attempts == 2, 20, world.log)
    until(lambda: world.ledger.history.delivery(failed.id).state.finished, 20, world.log)
    assert world.ledger.history.delivery(failed.id).by == "link in ops from 127.0.0.1"
    assert requests.post(link, timeout=10).status_code == 409
    assert requests.get(link[:-3] + "abc", timeout=10).status_code == 404
    assert link.rpartition("/")[2] not in world.log()
