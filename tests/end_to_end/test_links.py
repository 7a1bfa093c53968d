"""The link in a message, in real processes: looked at, pressed, and pressed again."""

import requests

from relay.model import Kind, State
from relay.testing.sandbox.exports import make_export


def test_the_link_of_a_failed_import_tries_it_again_once(world, tools):
    port = tools.free_port()
    url = f"http://127.0.0.1:{port}"
    tokens = '\n[api]\ntokens = ["token-of-the-api"]\n'
    world.path.write_text(f'public_url = "{url}"\n{world.path.read_text()}{tokens}')
    world.announce_uploads()
    world.process("serve", "--port", str(port))
    world.upload(body=make_export("hello")[:-40])
    [failed] = world.settled()
    assert failed.state == State.FAILED
    [told] = [one.json for one in world.inbox.messages if one.channel == "webhook"]
    link = told["data"]["links"]["retrigger"]
    assert link.startswith(f"{url}/links/")
    assert link not in str([one.message for one in world.deliveries(Kind.MESSAGE)])

    looked = requests.get(link, timeout=10)
    assert looked.status_code == 200
    assert looked.headers["cache-control"] == "no-store"
    assert world.ledger.history.delivery(failed.id).attempts == 1

    assert requests.post(link, timeout=10).status_code == 200
    tools.until(lambda: world.ledger.history.delivery(failed.id).attempts == 2, 20, world.log)
    again = tools.until(
        lambda: (one := world.ledger.history.delivery(failed.id)).state.finished and one,
        20,
        world.log,
    )
    assert again.by == "link in ops from 127.0.0.1"
    assert requests.post(link, timeout=10).status_code == 409
    assert requests.get(link[:-3] + "abc", timeout=10).status_code == 404
    assert link.rpartition("/")[2] not in world.log()
