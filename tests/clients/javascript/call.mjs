// A call with a flush in the middle; prints what does not depend on any timing.
import { readFileSync } from "node:fs";
import { connect } from "../../../clients/javascript/wavestitch.js";

const [url, recording] = process.argv.slice(2);
const audio = readFileSync(recording);
const stream = await connect(url, {
  finals: "stitched",
  reconnect: { first_s: 0.001, most_s: 0.01 },
});
const told = [];
let resumed = 0;
const listening = (async () => {
  for await (const event of stream) {
    if (event.type === "resumed") resumed += 1;
    if (["speech_started", "speech_ended", "final", "flushed", "finished"].includes(event.type)) {
      const { seq, ...rest } = event;
      told.push(rest);
    }
  }
})();
let flushing;
for (let start = 0; start < audio.length; start += 640) {
  if (start === 64_000) flushing = stream.flush();
  await stream.send(audio.subarray(start, start + 640));
  if (start % 6_400 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
}
await stream.finish();
await flushing;
await listening;
console.log(JSON.stringify({ told, resumed }));
