// Realtime transcription with npm's openai, which takes TLS alone; print each event.
// The last arguments: how many turns are waited for, the folder of its node_modules.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [url, path, turns, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { OpenAI } = require("openai");
const { OpenAIRealtimeWS } = require("openai/realtime/ws");
const client = new OpenAI({ apiKey: "a-key", baseURL: `${url.replace("ws", "http")}/v1` });
const audio = readFileSync(path).subarray(44);
const settings = { format: { type: "audio/pcm", rate: 16000 } };

const connection = new OpenAIRealtimeWS({ model: "gpt-realtime" }, client);
let left = Number(turns);
connection.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
connection.on("event", (event) => {
  console.log(JSON.stringify(event));
  if (event.type === "session.created") speak();
  if (event.type.endsWith(".completed") && event.transcript) left -= 1;
  if (!left) connection.close();
});
connection.socket.on("close", () => process.exit(0));

function speak() {
  connection.send({
    type: "session.update",
    session: { type: "transcription", audio: { input: settings } },
  });
  for (let at = 0; at < audio.length; at += 6400) {
    const piece = audio.subarray(at, at + 6400).toString("base64");
    connection.send({ type: "input_audio_buffer.append", audio: piece });
  }
  connection.send({ type: "input_audio_buffer.commit" });
}
