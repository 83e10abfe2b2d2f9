/**
 * A client of the native protocol, version 1, for browsers and node: an ES module.
 *
 *     import { connect } from "./wavestitch.js";
 *     const stream = await connect("ws://127.0.0.1:8770", { sample_rate: 16000 });
 *     stream.send(int16Samples);
 *     for await (const event of stream) if (event.type === "final") show(event.text);
 *
 * Events are the server's messages as they are, and two of this side: `reconnecting`
 * (why) and `resumed` (after_s, received, sent_again). A connection that is cut is made
 * again by itself: nothing is lost, nothing is heard twice.
 */

import { CUT, Connection, STEADFAST, StreamError, delays, endpoint } from "./dialing.js";
import { Kept, LONGEST_PIECE } from "./kept.js";

export { STEADFAST, StreamError, delays, endpoint };

/**
 * @typedef {import("./dialing.js").Event} Event
 * @typedef {import("./dialing.js").Reconnect} Reconnect
 *
 * @typedef {object} Options the protocol's parameters by their names, and:
 * @property {string} [key] a key or, in a page, a token of the server
 * @property {Partial<Reconnect> | null} [reconnect] null: the first cut is the end
 * @property {typeof WebSocket} [WebSocket] where there is none of its own
 */

/** @type {Record<string, number>} */
const SAMPLE_BYTES = { pcm_s16le: 2, pcm_s24le: 3, pcm_f32le: 4, mulaw: 1, alaw: 1 };
const ANSWERS = new Set(["flushed", "configured", "error"]);
const DONE = 1000;
const POLICY = 1008;

/**
 * Open a stream.
 * @param {string} url `ws://host:port`, or `wss://`
 * @param {Options & Record<string, any>} [options]
 * @returns {Promise<Stream>}
 * @throws {StreamError} nobody answers, or the server said no
 */
export async function connect(url, options = {}) {
  const { key, reconnect = {}, WebSocket = globalThis.WebSocket, ...asked } = options;
  const policy = reconnect === null ? null : { ...STEADFAST, ...reconnect };
  const protocols = key === undefined ? [] : ["bearer", key];
  /** @param {Record<string, any>} parameters */
  const dial = (parameters) =>
    Connection.open(new WebSocket(endpoint(url, parameters), protocols));
  const connection = await dial(asked);
  return new Stream(connection, dial, policy);
}

/** An open stream; made by `connect`. Iterate over it for events. */
export class Stream {
  /** What holds for it, as the server said it last. @type {Event} */
  ready;
  /** Samples that the server has told it took over. */
  acknowledged = 0;
  #connection;
  #dial;
  #policy;
  #kept;
  #seq = 0;
  #up = true;
  #finishing = false;
  #left = false;
  /** @type {Event | null} */
  #last = null;
  /** @type {Event[]} */
  #events = [];
  /** @type {Set<() => void>} */
  #waiting = new Set();
  /** @type {Map<string, {resolve: (event: Event) => void, reject: (error: Error) => void}[]>} */
  #asked = new Map([["flushed", []], ["configured", []], ["finished", []]]);
  #ended = false;
  /** @type {StreamError | null} */
  #failure = null;

  /**
   * @param {Connection & {ready: Event}} connection
   * @param {(parameters: Record<string, any>) => Promise<Connection & {ready: Event}>} dial
   * @param {Reconnect | null} policy
   */
  constructor(connection, dial, policy) {
    this.ready = connection.ready;
    this.#connection = /** @type {Connection} */ (connection);
    this.#dial = dial;
    // A server that keeps no sessions cannot be come back to.
    this.#policy = this.ready.resume_window_s ? policy : null;
    const frame = (SAMPLE_BYTES[this.ready.encoding] ?? 1) * this.ready.channels;
    const keepS = this.#policy?.keep_s ?? 0;
    this.#kept = new Kept(frame, keepS * this.ready.sample_rate * frame);
    void this.#read();
  }

  /** Samples that were sent, or wait to be, and that no server has confirmed. */
  get unacknowledged() {
    return this.#kept.samples;
  }

  /**
   * Send audio of any length; waits while more than `keep_s` of it is not
   * acknowledged. A cut alone does not hold it up.
   * @param {ArrayBuffer | ArrayBufferView} audio
   */
  async send(audio) {
    if (this.#finishing) throw new Error("audio after finish");
    const bytes = ArrayBuffer.isView(audio)
      ? new Uint8Array(audio.buffer, audio.byteOffset, audio.byteLength)
      : new Uint8Array(audio);
    for (let start = 0; start < bytes.length; start += LONGEST_PIECE) {
      while (this.#policy && !this.#kept.room && !this.#ended) await this.#stirred();
      this.#insistOpen();
      this.#kept.audio(bytes.slice(start, start + LONGEST_PIECE));
      this.#pump();
    }
  }

  /** Make all speech so far final; its finals are events by then. */
  flush() {
    return this.#ask("flushed", { type: "flush" });
  }

  /** Change options from this place in the audio on. @param {object} changes */
  configure(changes) {
    return this.#ask("configured", { type: "configure", ...changes });
  }

  /** End the audio; when this resolves, everything is final. */
  finish() {
    this.#finishing = true;
    return this.#ask("finished", { type: "finish" });
  }

  /** Hold the stream open while there is no audio to send. */
  keepalive() {
    this.#insistOpen();
    if (this.#up) this.#connection.send('{"type":"keepalive"}');
  }

  /** Leave, whether finished or not. */
  close() {
    this.#left = true;
    this.#policy = null;
    this.#connection.socket.close(DONE);
  }

  /** @returns {AsyncGenerator<Event, void>} */
  async *[Symbol.asyncIterator]() {
    for (;;) {
      const event = this.#events.shift();
      if (event !== undefined) yield event;
      else if (!this.#ended) await this.#stirred();
      else if (this.#failure !== null) throw this.#failure;
      else return;
    }
  }

  // --- out -----------------------------------------------------------------

  /**
   * @param {string} answer
   * @param {object} command
   * @returns {Promise<Event>}
   */
  #ask(answer, command) {
    return new Promise((resolve, reject) => {
      this.#insistOpen();
      this.#asked.get(answer)?.push({ resolve, reject });
      this.#kept.command(JSON.stringify(command));
      this.#pump();
    });
  }

  #pump() {
    let message;
    while (this.#up && (message = this.#kept.next()) !== null) {
      this.#connection.send(message);
    }
    if (this.#policy === null) this.#kept.forgetSent();
  }

  #insistOpen() {
    if (!this.#ended) return;
    throw this.#failure ?? this.#error("the stream is finished", "connection_lost");
  }

  /** @param {string} message @param {string} code */
  #error(message, code, lost = 0) {
    return new StreamError(message, code, { acknowledged: this.acknowledged, lost });
  }

  // --- in ------------------------------------------------------------------

  async #read() {
    try {
      for (;;) {
        await this.#hear();
        if (this.#hasEnded()) break;
        const cutAt = Date.now();
        this.#up = false;
        this.#tell({ type: "reconnecting", why: this.#how() });
        this.#tell(await this.#comeBack(cutAt));
      }
      this.#failure = this.#whyEnded();
    } catch (error) {
      this.#failure =
        error instanceof StreamError
          ? error
          : this.#error(`${error}`, "protocol_broken");
      this.#connection.cut(CUT, "");
    }
    this.#ended = true;
    this.#up = false;
    const failure = this.#failure ?? this.#error("the stream is finished", "finished");
    for (const asked of this.#asked.values()) {
      for (const { reject } of asked.splice(0)) reject(failure);
    }
    this.#stir();
  }

  /** What comes over this connection, what was heard before left out. */
  async #hear() {
    const watch = setInterval(() => this.#watch(), 250);
    try {
      let event;
      while ((event = await this.#connection.next()) !== null) {
        const seq = Number(event.seq);
        if (this.#policy !== null && seq <= this.#seq) continue;
        if (seq !== this.#seq + 1) {
          throw this.#error(`message ${seq} came after ${this.#seq}`, "protocol_broken");
        }
        this.#seq = seq;
        this.#last = event;
        this.#settle(event);
        this.#tell(event);
      }
    } finally {
      clearInterval(watch);
    }
  }

  /** A connection over which nothing comes counts as cut. */
  #watch() {
    const silentS = (Date.now() - this.#connection.heardAt) / 1_000;
    if (this.#policy && this.#kept.awaiting && silentS > this.#policy.silence_s) {
      this.#connection.cut(CUT, "nothing came any more");
    }
  }

  /** @param {Event} event */
  #settle(event) {
    if (event.type === "ack") {
      this.acknowledged = Math.max(this.acknowledged, event.received);
      this.#kept.acknowledge(event.received);
    }
    if (ANSWERS.has(event.type)) this.#kept.answered();
    if (event.type === "error") {
      const refused = new StreamError(event.message, event.code);
      this.#asked.get("configured")?.shift()?.reject(refused);
    } else if (event.type !== "finished" || this.#late === 0) {
      this.#asked.get(event.type)?.shift()?.resolve(event);
    }
  }

  /** @param {Event} event */
  #tell(event) {
    this.#events.push(event);
    this.#stir();
  }

  #stir() {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  #stirred() {
    return new Promise((resolve) => this.#waiting.add(() => resolve(undefined)));
  }

  // --- cuts ----------------------------------------------------------------

  /** Samples that no server will hear: we came back after the window. */
  get #late() {
    return this.ready.state === "open" ? 0 : this.#kept.samples;
  }

  #hasEnded() {
    if (this.#policy === null || this.#last?.type === "finished") return true;
    const { code } = this.#connection.closed ?? { code: CUT };
    const refused = code !== CUT && this.#last?.type === "error";
    return code === DONE || code === POLICY || refused;
  }

  #whyEnded() {
    if (this.#late > 0) {
      const why = `the session was finished while it was cut off: ${this.#late} samples came too late`;
      return this.#error(why, "session_lost", this.#late);
    }
    if (this.#left || this.#last?.type === "finished") return null;
    if (this.#last?.type === "error") {
      return this.#error(this.#last.message, this.#last.code);
    }
    const taken = this.#connection.closed?.reason === "session_taken";
    return taken
      ? this.#error("another connection has taken the session over", "session_taken")
      : this.#error(`the connection ended before the stream (${this.#how()})`, "connection_lost");
  }

  #how() {
    const { code, reason } = this.#connection.closed ?? { code: CUT, reason: "" };
    return `close ${code} ${reason}`.trim();
  }

  /** Dial until the server has us back. @param {number} cutAt @returns {Promise<Event>} */
  async #comeBack(cutAt) {
    const policy = this.#policy ?? STEADFAST;
    const { session, token } = this.ready;
    const parameters = { session, token, after: this.#seq };
    for (const delay of delays(policy)) {
      await new Promise((resolve) => setTimeout(resolve, delay * 1_000));
      const awayS = (Date.now() - cutAt) / 1_000;
      try {
        const connection = await this.#dial(parameters);
        this.#connection = /** @type {Connection} */ (connection);
        this.ready = connection.ready;
        const { received, commands, state } = this.ready;
        const again = this.#kept.rewind(received, commands);
        this.acknowledged = received;
        this.#up = state === "open";
        this.#pump();
        return { type: "resumed", after_s: awayS, received, sent_again: again };
      } catch (error) {
        const code = error instanceof StreamError ? error.code : "protocol_broken";
        const final = ["bad_request", "unauthorized", "protocol_broken"].includes(code);
        if (code === "session_lost") {
          throw this.#error(/** @type {Error} */ (error).message, code, this.#kept.samples);
        }
        if (final || this.#policy === null) throw error;
        if (awayS > policy.patience_s) {
          throw this.#error(`cut off for ${policy.patience_s} s`, "connection_lost");
        }
      }
    }
    throw this.#error("the delays have no end", "protocol_broken");
  }
}
