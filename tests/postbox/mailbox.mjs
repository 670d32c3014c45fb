// What arrived, in order, in bounded memory.
//
// A message is a plain object: {n, at, kind, ok, problem, repeat, ...fields of its kind}. `n` counts
// from 1 and never repeats; `repeat` says that the same dedup handle (Message-ID, webhook-id, push
// topic and payload) was seen before. When the limits are reached the oldest messages go, and
// `dropped` counts them.
import { EventEmitter } from 'node:events';

const MESSAGES_MAX = 100_000;
const BYTES_MAX = 256 * 1024 * 1024;

export class Mailbox extends EventEmitter {
  #messages = [];
  #first = 0; // index of the oldest kept message: removing from the front stays cheap
  #bytes = 0;
  #last = 0;
  #seen = new Map();

  constructor({ messagesMax = MESSAGES_MAX, bytesMax = BYTES_MAX } = {}) {
    super();
    this.setMaxListeners(0);
    this.messagesMax = messagesMax;
    this.bytesMax = bytesMax;
    this.dropped = 0;
  }

  /** Keeps a message; `handle` is what a receiver would deduplicate by. Returns the kept object. */
  add(message, handle = null) {
    const kept = {
      n: ++this.#last,
      at: new Date().toISOString(),
      ok: message.problem == null,
      problem: null,
      repeat: this.#isRepeat(message, handle),
      ...message,
    };
    const size = JSON.stringify(kept).length;
    this.#messages.push({ kept, size });
    this.#bytes += size;
    this.#trim();
    this.emit('message', kept);
    return kept;
  }

  #isRepeat(message, handle) {
    if (handle == null) return false;
    const key = `${message.kind} ${handle}`;
    const before = this.#seen.has(key);
    this.#seen.set(key, true);
    if (this.#seen.size > this.messagesMax) this.#seen.delete(this.#seen.keys().next().value);
    return before;
  }

  #trim() {
    while (this.#count() > this.messagesMax || (this.#bytes > this.bytesMax && this.#count() > 1)) {
      this.#bytes -= this.#messages[this.#first].size;
      this.#messages[this.#first++] = undefined;
      this.dropped++;
    }
    if (this.#first > 1024 && this.#first * 2 > this.#messages.length) {
      this.#messages.splice(0, this.#first);
      this.#first = 0;
    }
  }

  #count() {
    return this.#messages.length - this.#first;
  }

  /** Messages in order of arrival: of one kind, or after number `since`, or both. */
  list({ kind = null, since = 0 } = {}) {
    const found = [];
    for (let i = this.#first; i < this.#messages.length; i++) {
      const { kept } = this.#messages[i];
      if (kept.n > since && (kind === null || kept.kind === kind)) found.push(kept);
    }
    return found;
  }

  counts() {
    const counts = { email: 0, push: 0, webhook: 0 };
    for (const message of this.list()) counts[message.kind]++;
    return counts;
  }

  clear() {
    this.#messages = [];
    this.#first = 0;
    this.#bytes = 0;
    this.#seen.clear();
    this.dropped = 0;
  }

  /**
   * Resolves with the first kept or coming message for which the predicate holds, or rejects after
   * `timeoutMs`, or when the signal falls, with an error that lists what did arrive.
   */
  waitFor(predicate, { timeoutMs = 15_000, since = 0, signal = null } = {}) {
    const found = this.list({ since }).find(predicate);
    if (found) return Promise.resolve(found);
    return new Promise((resolve, reject) => {
      const done = (settle, value) => {
        clearTimeout(timer);
        this.off('message', look);
        signal?.removeEventListener('abort', end);
        settle(value);
      };
      const look = (message) => {
        if (message.n > since && predicate(message)) done(resolve, message);
      };
      const end = () => done(reject, this.#missing(timeoutMs, since));
      const timer = setTimeout(end, timeoutMs);
      signal?.addEventListener('abort', end);
      this.on('message', look);
    });
  }

  #missing(timeoutMs, since) {
    const recent = this.list({ since }).slice(-10);
    return new Error(
      `no such message arrived within ${timeoutMs} ms; the latest ${recent.length}: ${JSON.stringify(recent, null, 1)}`,
    );
  }
}
