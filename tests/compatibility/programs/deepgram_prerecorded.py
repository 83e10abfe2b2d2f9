"""deepgram-sdk: a recording sent whole, and one that is only pointed to.

Arguments: address, recording. Prints an object for each call.
"""

import json
import sys

from deepgram import DeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.environment import DeepgramClientEnvironment

url, path = sys.argv[1:3]
http = url.replace("ws", "http", 1)
client = DeepgramClient(
    api_key="none",
    environment=DeepgramClientEnvironment(
        base=http, production=url, agent=url, agent_rest=http
    ),
)


def tell(name, value):
    print(json.dumps({"call": name, "value": value}, default=str))


with open(path, "rb") as file:
    whole = file.read()


def pieces():
    for at in range(0, len(whole), 8_192):
        yield whole[at : at + 8_192]


for name, request in (("whole", whole), ("chunked", pieces())):
    said = client.listen.v1.media.transcribe_file(
        request=request, model="nova-3", utterances=True, smart_format=True
    )
    tell(name, json.loads(said.json()))
try:
    client.listen.v1.media.transcribe_url(url="https://example.com/a.wav")
except ApiError as error:
    tell("url", {"status": error.status_code, "body": error.body})
