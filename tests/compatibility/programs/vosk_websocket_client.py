"""Vosk's protocol as alphacep's test_srt.py speaks it, with `websocket-client`."""

import json
import sys
import wave

from websocket import create_connection


def main(uri: str, path: str) -> None:
    socket = create_connection(uri)
    with wave.open(path) as file:
        rate = file.getframerate()
        socket.send('{ "config" : { "sample_rate" : %d } }' % rate)
        while data := file.readframes(4000):
            socket.send_binary(data)
            print(json.dumps(json.loads(socket.recv())))
    socket.send('{"eof" : 1}')
    print(json.dumps(json.loads(socket.recv())))
    socket.close()


main(*sys.argv[1:])
