"""Live transcription with deepgram-sdk's sync client; print each message."""

import json
import sys
import threading
import wave

from deepgram import DeepgramClient
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment
from websockets.exceptions import InvalidStatus


def main(url: str, path: str, options: str = "{}") -> None:
    here = DeepgramClientEnvironment(
        base=url.replace("ws", "http"), production=url, agent=url, agent_rest=url
    )
    wanted = json.loads(options)
    with wave.open(path) as file:
        rate, audio = file.getframerate(), file.readframes(file.getnframes())
    client = DeepgramClient(api_key="a-key", environment=here)
    asked = {"encoding": "linear16", "sample_rate": rate, **wanted.get("query", {})}
    if wanted.get("container"):
        asked = wanted.get("query", {})
        with open(path, "rb") as file:
            audio = file.read()
    with client.listen.v1.connect(model="nova-3", **asked) as socket:
        socket.on(EventType.MESSAGE, lambda said: print(said.json(), flush=True))
        listening = threading.Thread(target=socket.start_listening)
        listening.start()
        for at in range(0, len(audio), 3_200):
            socket.send_media(audio[at : at + 3_200])
        socket.send_keep_alive()
        if wanted.get("finalize"):
            socket.send_finalize()
        socket.send_close_stream()
        listening.join()


try:
    main(*sys.argv[1:])
except InvalidStatus as refused:
    response = refused.response
    told = {
        "status": response.status_code,
        "headers": dict(response.headers),
        "body": json.loads(response.body),
    }
    print(json.dumps(told))
