"""Send a WAV over the native protocol, with more parameters; print each message."""

import asyncio
import sys
import wave

from websockets.asyncio.client import connect


async def main(url: str, path: str, more: str = "") -> None:
    with wave.open(path) as file:
        rate, audio = file.getframerate(), file.readframes(file.getnframes())
        channels = file.getnchannels()
    query = f"sample_rate={rate}&channels={channels}{more}"
    async with connect(f"{url}/v1/stream?{query}") as socket:
        await socket.send(audio)
        await socket.send('{"type":"finish"}')
        async for message in socket:
            print(message)


asyncio.run(main(*sys.argv[1:]))
