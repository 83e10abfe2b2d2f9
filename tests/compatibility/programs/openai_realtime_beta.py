"""The same with the client's beta interface, async, in G.711; print each event."""

import asyncio
import base64
import sys

from openai import AsyncOpenAI


async def main(url: str, audio: bytes, turns: str) -> None:
    # This interface makes any base URL one of TLS.
    client = AsyncOpenAI(websocket_base_url=f"{url}/v1", api_key="a-key")
    left = int(turns)
    async with client.beta.realtime.connect(
        model="gpt-4o-transcribe", extra_query={"intent": "transcription"}
    ) as connection:
        await connection.transcription_session.update(
            session={
                "input_audio_format": "g711_ulaw",
                "input_audio_transcription": {"model": "gpt-4o-transcribe"},
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},
            }
        )
        for at in range(0, len(audio), 1_600):
            piece = base64.b64encode(audio[at : at + 1_600]).decode()
            await connection.input_audio_buffer.append(audio=piece)
        await connection.input_audio_buffer.commit()
        async for event in connection:
            print(event.to_json(indent=None), flush=True)
            left -= bool(getattr(event, "transcript", ""))
            if not left:
                break


url, path, turns = sys.argv[1:]
with open(path, "rb") as file:
    audio = file.read()
asyncio.run(main(url, audio, turns))
