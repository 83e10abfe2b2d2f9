// Replays clients/vectors.json against the JavaScript client.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Kept } from "../../../clients/javascript/kept.js";
import { delays, endpoint } from "../../../clients/javascript/wavestitch.js";

const vectors = JSON.parse(readFileSync(process.argv[2], "utf-8"));
const bytes = new TextEncoder();
const text = new TextDecoder();
let cases = 0;

function sent(kept) {
  const messages = [];
  for (let next; (next = kept.next()) !== null; ) {
    messages.push(typeof next === "string" ? next : text.decode(next));
  }
  return messages;
}

for (const { title, most_bytes, steps } of vectors.kept) {
  const kept = new Kept(2, most_bytes);
  for (const [call, ...rest] of steps) {
    if (call === "audio") kept.audio(bytes.encode(rest[0]));
    else if (call === "sent") assert.deepEqual(sent(kept), rest[0], title);
    else if (call === "forget") kept.forgetSent();
    else if (call === "rewind" && rest[2] === "refused") {
      assert.throws(() => kept.rewind(rest[0], rest[1]), RangeError, title);
    } else if (call === "rewind") {
      assert.equal(kept.rewind(rest[0], rest[1]), rest[2], title);
    } else if (["samples", "room", "awaiting"].includes(call)) {
      assert.equal(kept[call], rest[0], title);
    } else kept[call](...rest);
  }
  cases += 1;
}

const chances = vectors.delays.chances.values();
const waits = delays(vectors.delays.reconnect, () => chances.next().value);
for (const expected of vectors.delays.expected) {
  assert.ok(Math.abs(waits.next().value - expected) < 1e-9);
}
cases += 1;

for (const [url, parameters, expected] of vectors.addresses) {
  assert.equal(endpoint(url, parameters), expected);
  cases += 1;
}
console.log(`${cases} cases`);
