/**
 * What was sent and may have to be sent again: audio and commands, in their order.
 *
 * The server counts the samples and the commands that it has taken; both counts
 * together name one place here. Twin of `clients/kept.py`; knows nothing of sockets.
 */

/** The longest audio message: it goes as a whole or not at all. */
export const LONGEST_PIECE = 32_768;

/**
 * @typedef {object} Entry
 * @property {Uint8Array | string} message
 * @property {number} at bytes of audio before it
 * @property {number | null} number of a command, counted from 0; null for audio
 */

export class Kept {
  /** @type {Entry[]} */
  #entries = [];
  #sent = 0; // of the entries
  #end = 0; // bytes of audio in all
  #start = 0; // of them, confirmed
  #commands = 0;
  #answered = 0;
  #taken = 0;
  #frame;
  #most;

  /**
   * @param {number} frameBytes of one sample of all channels
   * @param {number} mostBytes audio past which there is no `room`
   */
  constructor(frameBytes, mostBytes) {
    this.#frame = frameBytes;
    this.#most = mostBytes;
  }

  /** More audio may be added. */
  get room() {
    return this.#end - this.#start < this.#most;
  }

  /** Samples per channel that the server has not confirmed. */
  get samples() {
    return Math.floor((this.#end - this.#start) / this.#frame);
  }

  /** Something was sent that is to be confirmed or answered. */
  get awaiting() {
    return this.#sent > 0;
  }

  /** Add audio; it goes as one message. @param {Uint8Array} piece */
  audio(piece) {
    this.#entries.push({ message: piece, at: this.#end, number: null });
    this.#end += piece.length;
  }

  /** Add a command that is answered. @param {string} text */
  command(text) {
    const number = this.#commands++;
    this.#entries.push({ message: text, at: this.#end, number });
  }

  /** The next message to send, null for none; it counts as sent. */
  next() {
    if (this.#sent === this.#entries.length) return null;
    return this.#entries[this.#sent++].message;
  }

  /** The server has so many samples, and every command before them. */
  acknowledge(/** @type {number} */ received) {
    const at = Math.min(received * this.#frame, this.#end);
    this.#start = Math.max(this.#start, at);
    this.#letGo();
  }

  /** One more command was answered. */
  answered() {
    this.#answered += 1;
    this.#letGo();
  }

  /** Keep nothing of what was sent: there is no way back. */
  forgetSent() {
    for (const entry of this.#entries.splice(0, this.#sent)) {
      if (entry.number === null) this.#start = entry.at + entry.message.length;
    }
    this.#sent = 0;
  }

  /**
   * Go back to where the server is.
   * @param {number} received samples that it has
   * @param {number} commands commands that it has taken
   * @returns {number} samples that had been sent and will be sent again
   * @throws {RangeError} it claims to be where it cannot be
   */
  rewind(received, commands) {
    const at = received * this.#frame;
    if (at < this.#start || at > this.#end || commands > this.#commands) {
      throw new RangeError(
        `the server has ${received} samples and ${commands} commands, expected ` +
          `${this.#start / this.#frame} to ${this.#end / this.#frame} samples and ` +
          `at most ${this.#commands} commands`,
      );
    }
    const unsent = this.#entries[this.#sent];
    const sentTo = unsent === undefined ? this.#end : unsent.at;
    this.#start = at;
    this.#taken = commands;
    // One that was taken may stand in the middle of the sample that is sent again.
    this.#entries = this.#entries.filter(
      ({ number }) => number === null || number >= commands,
    );
    this.#sent = this.#entries.length;
    this.#letGo();
    this.#sent = 0;
    const first = this.#entries[0];
    if (first !== undefined && first.at < at) {
      const message = /** @type {Uint8Array} */ (first.message).subarray(at - first.at);
      this.#entries[0] = { message, at, number: null };
    }
    return Math.floor(Math.max(0, sentTo - at) / this.#frame);
  }

  #letGo() {
    let done = 0;
    while (done < this.#sent && this.#isDone(this.#entries[done])) done += 1;
    this.#entries.splice(0, done);
    this.#sent -= done;
  }

  /** @param {Entry} entry */
  #isDone({ message, at, number }) {
    if (number === null) return at + message.length <= this.#start;
    // One at the very place of the last sample may not have arrived.
    return number < Math.max(this.#answered, this.#taken) || at < this.#start;
  }
}
