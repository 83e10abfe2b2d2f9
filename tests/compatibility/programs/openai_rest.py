"""openai-python: a recording in every format, streamed, and the models.

Arguments: address, recording. Prints an object for each call.
"""

import json
import sys

from openai import NotFoundError, OpenAI

url, path = sys.argv[1:3]
client = OpenAI(base_url=url.replace("ws", "http", 1) + "/v1", api_key="none")


def tell(name, value):
    print(json.dumps({"call": name, "value": value}))


def transcribe(**options):
    with open(path, "rb") as file:
        return client.audio.transcriptions.create(
            file=file, model="whisper-1", **options
        )


for layout in ("json", "text", "srt", "vtt"):
    said = transcribe(response_format=layout)
    tell(layout, said if isinstance(said, str) else said.text)
said = transcribe(
    response_format="verbose_json",
    timestamp_granularities=["word", "segment"],
    language="en",
    temperature=0,
)
tell("verbose_json", said.model_dump())
events = list(transcribe(stream=True))
tell("stream", [event.model_dump() for event in events])
models = client.models.list().data
tell("models", [model.id for model in models])
tell("model", client.models.retrieve(models[0].id).id)
try:
    client.models.retrieve("no/such")
except NotFoundError as error:
    tell("missing", error.body)
try:
    with open(path, "rb") as file:
        client.audio.transcriptions.create(file=file, model="large-v3")
except NotFoundError as error:
    tell("refused", error.body)
