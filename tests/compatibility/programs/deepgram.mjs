// Live transcription with npm's @deepgram/sdk; print each message. The folder that
// holds its node_modules is the last argument.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [url, path, folder] = process.argv.slice(2);
const { DeepgramClient } = createRequire(`${folder}/`)("@deepgram/sdk");
const http = url.replace("ws", "http");
const client = new DeepgramClient({
  apiKey: "a-key",
  environment: { base: http, production: url, agent: url, agentRest: http },
});
const audio = readFileSync(path).subarray(44);

const socket = await client.listen.v1.connect({
  model: "nova-3",
  encoding: "linear16",
  sample_rate: 16000,
  interim_results: "true",
  reconnectAttempts: 0,
});
const closed = new Promise((done) => socket.on("close", done));
socket.on("message", (said) => console.log(JSON.stringify(said)));
socket.connect();
await socket.waitForOpen();
for (let at = 0; at < audio.length; at += 3200) {
  socket.sendMedia(audio.subarray(at, at + 3200));
}
socket.sendCloseStream({ type: "CloseStream" });
const { code } = await closed;
console.log(JSON.stringify({ closed: code }));
process.exit(0);
