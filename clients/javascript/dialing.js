/**
 * Dial a server: the address, one websocket, and how long to wait before the next.
 *
 * Knows the opening of the native protocol; keeps nothing of what is sent.
 */

/**
 * @typedef {object} Reconnect how to come back after a cut
 * @property {number} first_s longest wait before the first attempt
 * @property {number} most_s longest wait before any
 * @property {number} patience_s give up this long after a cut
 * @property {number} silence_s a connection over which nothing comes counts as cut
 * @property {number} keep_s audio that is kept; `send` waits for more
 *
 * @typedef {{type: string, seq?: number, [field: string]: any}} Event
 */

/** @type {Reconnect} */
export const STEADFAST = {
  first_s: 0.2,
  most_s: 5,
  patience_s: 120,
  silence_s: 30,
  keep_s: 60,
};

const OPEN_TIMEOUT_S = 10;

/** The close code of a connection that has ended without one. */
export const CUT = 1006;

/** How a stream ended, other than by `finished`. */
export class StreamError extends Error {
  /**
   * @param {string} message
   * @param {string} code the server's word (`session_lost`, ...), or `cannot_connect`,
   *   `connection_lost`, `protocol_broken`
   * @param {{acknowledged?: number, lost?: number}} [more] samples: that the server
   *   has, and that no server has heard
   */
  constructor(message, code, { acknowledged = 0, lost = 0 } = {}) {
    super(message);
    this.name = "StreamError";
    this.code = code;
    this.acknowledged = acknowledged;
    this.lost = lost;
  }
}

/**
 * Seconds to wait before each attempt, without end: doubling bounds, full jitter.
 * @param {{first_s: number, most_s: number}} reconnect
 * @param {() => number} chance 0 to 1
 * @returns {Generator<number, never>}
 */
export function* delays({ first_s, most_s }, chance = Math.random) {
  for (let bound = first_s; ; bound = Math.min(most_s, 2 * bound)) {
    yield bound * chance();
  }
}

/**
 * The address of a stream with these parameters; those that are null are left out.
 * @param {string} url
 * @param {Record<string, any>} parameters
 */
export function endpoint(url, parameters) {
  const made = new URL(url);
  const path = made.pathname.replace(/\/+$/, "");
  made.pathname = path.endsWith("/v1/stream") ? path : `${path}/v1/stream`;
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined) made.searchParams.set(name, `${value}`);
  }
  return made.href;
}

/** One websocket: its messages in order, and how it ended. */
export class Connection {
  /** @type {Event[]} */
  #messages = [];
  /** @type {(() => void) | null} */
  #stir = null;
  /** @type {{code: number, reason: string} | null} */
  closed = null;
  heardAt = Date.now();

  /** @param {WebSocket} socket */
  constructor(socket) {
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      this.heardAt = Date.now();
      this.#messages.push(JSON.parse(data));
      this.#stir?.();
    };
    socket.onclose = ({ code, reason }) => this.cut(code, reason);
    socket.onerror = () => {}; // a close follows, which says more
  }

  /**
   * Dial, and hear `ready`.
   * @param {WebSocket} socket
   * @returns {Promise<Connection & {ready: Event}>}
   */
  static async open(socket) {
    const made = new Connection(socket);
    const timer = setTimeout(() => made.cut(CUT, "no ready"), OPEN_TIMEOUT_S * 1_000);
    const first = await made.next();
    clearTimeout(timer);
    if (first?.type === "ready") return Object.assign(made, { ready: first });
    socket.close();
    if (first?.type === "error") throw new StreamError(first.message, first.code);
    throw new StreamError(`cannot reach ${new URL(socket.url).host}`, "cannot_connect");
  }

  /** It has ended, or counts as ended. */
  cut(/** @type {number} */ code, /** @type {string} */ reason) {
    if (this.closed !== null) return;
    this.closed = { code, reason };
    this.socket.onmessage = null;
    this.socket.close();
    this.#stir?.();
  }

  /** The next message; null at the end. @returns {Promise<Event | null>} */
  async next() {
    while (this.#messages.length === 0 && this.closed === null) {
      await new Promise((resolve) => {
        this.#stir = () => resolve(undefined);
      });
    }
    return this.#messages.shift() ?? null;
  }

  /** @param {Uint8Array | string} message */
  send(message) {
    if (this.closed === null) this.socket.send(message);
  }
}
