"""Vosk's protocol as alphacep's websocket/test.py speaks it, with `websockets`.

Sends 0.2 s of audio, waits for its one answer, sends on. Options as JSON: the config
to send (null for none), the bytes of a message, `raw` to send the file as it is.
"""

import asyncio
import json
import sys
import wave

import websockets


def pieces(path: str, size: int, raw: bool):
    if raw:
        with open(path, "rb") as file:
            while data := file.read(size):
                yield data
        return
    with wave.open(path) as file:
        while data := file.readframes(size // 2):
            yield data


async def main(uri: str, path: str, options: str = "{}") -> None:
    wanted = json.loads(options)
    with wave.open(path) as file:
        rate = file.getframerate()
    config = wanted.get("config", {"sample_rate": rate})
    size = wanted.get("size", int(rate * 0.2) * 2)
    async with websockets.connect(uri) as websocket:
        if config is not None:
            await websocket.send(json.dumps({"config": config}))
        for number, data in enumerate(pieces(path, size, wanted.get("raw", False)), 1):
            await websocket.send(data)
            print(json.dumps(json.loads(await websocket.recv())))
            if number == wanted.get("reset"):
                await websocket.send('{"reset" : 1}')
                print(json.dumps(json.loads(await websocket.recv())))
        await websocket.send('{"eof" : 1}')
        print(json.dumps(json.loads(await websocket.recv())))
        try:
            await websocket.recv()
        except websockets.exceptions.ConnectionClosedOK as closed:
            print(json.dumps({"closed": closed.rcvd.code}))


asyncio.run(main(*sys.argv[1:]))
