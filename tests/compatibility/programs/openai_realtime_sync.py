"""Realtime transcription with openai's sync client; print each event.

The last argument is how many turns are waited for.
"""

import base64
import sys
import wave

from openai import OpenAI

COMPLETED = "conversation.item.input_audio_transcription.completed"


def main(url: str, path: str, turns: str) -> None:
    with wave.open(path) as file:
        rate, audio = file.getframerate(), file.readframes(file.getnframes())
    client = OpenAI(base_url=url.replace("ws", "http") + "/v1", api_key="a-key")
    settings = {
        "format": {"type": "audio/pcm", "rate": rate},
        "transcription": {"model": "gpt-4o-transcribe", "language": "en"},
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},
    }
    left = int(turns)
    with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        created = connection.recv()
        print(created.to_json(indent=None))
        connection.session.update(
            session={"type": "transcription", "audio": {"input": settings}}
        )
        for at in range(0, len(audio), 6_400):
            piece = base64.b64encode(audio[at : at + 6_400]).decode()
            connection.input_audio_buffer.append(audio=piece)
        connection.input_audio_buffer.commit()
        for event in connection:
            print(event.to_json(indent=None), flush=True)
            left -= event.type == COMPLETED and bool(event.transcript)
            if not left:
                break


main(*sys.argv[1:])
