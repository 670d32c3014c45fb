/**
 * Reads a Server-Sent Events stream (WHATWG HTML, "Interpreting an event stream") from text in
 * pieces of any size. Pure: no I/O, no clock. `live.js` feeds it what `fetch` reads.
 *
 * Promises: a message is given once, complete, however the text was cut; a message whose blank line
 * never came is dropped; one line or message never holds more than MESSAGE_CHARS_MAX characters.
 */

/** A message longer than this means that we are not talking to Belfry. */
export const MESSAGE_CHARS_MAX = 4 * 1024 * 1024;

/**
 * @typedef {object} SseMessage
 * @property {string} event  name, `message` where the stream gave none
 * @property {string} data   the lines of `data`, joined by line feeds
 * @property {string} id     the last id that the stream gave, so far
 */

export class SseParser {
  #rest = '';
  #skipLineFeed = false;
  #first = true;
  #event = '';
  /** @type {string[]} */
  #data = [];
  #chars = 0;
  #id = '';

  /** Milliseconds from the stream's last `retry:` line, or null. @type {number | null} */
  retryMs = null;

  /**
   * Takes the next piece of text and gives the messages that it completes.
   * @param {string} text
   * @returns {SseMessage[]}
   * @throws {RangeError} when a message is longer than MESSAGE_CHARS_MAX
   */
  push(text) {
    if (this.#first && text) {
      this.#first = false;
      if (text.startsWith('\uFEFF')) text = text.slice(1);
    }
    if (this.#skipLineFeed && text) {
      this.#skipLineFeed = false;
      if (text.startsWith('\n')) text = text.slice(1);
    }
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    // A final CR has ended its line already; an LF at the next piece's start belongs to it.
    this.#skipLineFeed = text.endsWith('\r');
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length + this.#chars > MESSAGE_CHARS_MAX) throw new RangeError('event stream message is too long');

    const messages = [];
    for (const line of lines) {
      const message = this.#takeLine(line);
      if (message) messages.push(message);
    }
    return messages;
  }

  /** @param {string} line @returns {SseMessage | null} */
  #takeLine(line) {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return null; // a comment: the heartbeat
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);

    if (field === 'data') {
      this.#data.push(value);
      this.#chars += value.length;
    } else if (field === 'event') this.#event = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    else if (field === 'retry' && /^[0-9]+$/.test(value)) this.retryMs = Number(value);
    return null;
  }

  /** @returns {SseMessage | null} */
  #dispatch() {
    const message = this.#data.length
      ? { event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id }
      : null;
    this.#event = '';
    this.#data = [];
    this.#chars = 0;
    return message;
  }
}
