"""Live transcription with deepgram-sdk's async client; print each message."""

import asyncio
import sys
import wave

from deepgram import AsyncDeepgramClient
from deepgram.environment import DeepgramClientEnvironment


async def main(url: str, path: str) -> None:
    here = DeepgramClientEnvironment(
        base=url.replace("ws", "http"), production=url, agent=url, agent_rest=url
    )
    with wave.open(path) as file:
        rate, audio = file.getframerate(), file.readframes(file.getnframes())
    client = AsyncDeepgramClient(access_token="a-token", environment=here)
    async with client.listen.v1.connect(
        model="nova-3",
        encoding="linear16",
        sample_rate=rate,
        interim_results=True,
        vad_events=True,
        utterance_end_ms="1000",
        smart_format=True,
    ) as socket:
        for at in range(0, len(audio), 3_200):
            await socket.send_media(audio[at : at + 3_200])
        await socket.send_close_stream()
        async for said in socket:
            print(said.json(), flush=True)


asyncio.run(main(*sys.argv[1:]))
