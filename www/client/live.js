/**
 * The loop that keeps a feed up to date: asks, hands on what came, waits as `pacing.js` says, asks again.
 * One tab of a browser runs it (see tabs.js).
 *
 * Promises: answers are handed on in the order of the feed, each with the cursor that it follows on; at
 * most one request is open; after `signal` falls nothing is handed on. A stream that fails twice without
 * a message gives way to polling for STREAM_AGAIN_MS.
 */

import { BelfryError } from './http.js';
import { backoffMs, initialPace, jitterMs, nextPace, waitSecondsOf } from './pacing.js';
import { SseParser } from './sse.js';

const STREAM_AGAIN_MS = 5 * 60_000;
/** Heartbeats come every 25 s: after two missing ones the connection is dead. */
const STREAM_SILENT_MS = 60_000;
/** A stream that stayed open this long works, even if nothing happened meanwhile. */
const STREAM_ALIVE_MS = 20_000;
/** Without a network the `online` event wakes us; this is for browsers that forget it. */
const ONLINE_AGAIN_MS = 60_000;
/** A waiting poll gets this much more than it asked for before we give it up. */
const POLL_GRACE_MS = 10_000;

/**
 * @typedef {object} PollAnswer
 * @property {{ inbox: import('./inbox.js').InboxFeed }} feeds
 * @property {string} cursor
 * @property {boolean} more
 * @property {number} pollAfterMs
 *
 * @typedef {'connecting' | 'live' | 'polling' | 'offline' | 'unauthorized'} LiveStatus
 *
 * @typedef {object} LiveOptions
 * @property {import('./http.js').Api} api
 * @property {string} client                names the poller: its newer poll ends the older one
 * @property {boolean} stream               use Server-Sent Events
 * @property {string | null} cursor         where to go on
 * @property {(answer: PollAnswer, base: string | null) => void} onAnswer
 * @property {(status: LiveStatus, error: BelfryError | null) => void} onStatus
 * @property {() => boolean} isHidden       nobody looks at any tab
 * @property {() => boolean} isOnline
 */

export class Live {
  #options;
  #pace = initialPace();
  #streamFailures = 0;
  #streamAgainAtMs = 0;
  /** @type {(() => void) | null} */
  #wake = null;
  /** Ends the request on its way. @type {AbortController | null} */
  #request = null;
  /** @type {string | null} */
  #etag = null;
  #refused = false;
  /** The last request failed. */
  #lost = false;

  /** @param {LiveOptions} options */
  constructor(options) {
    this.#options = options;
    /** @type {string | null} */
    this.cursor = options.cursor;
  }

  /** Runs until the signal falls. @param {AbortSignal} signal */
  async run(signal) {
    this.#status('connecting', null);
    while (!signal.aborted) {
      const streaming = this.#options.stream && !this.#options.isHidden() && Date.now() >= this.#streamAgainAtMs;
      const delayMs = streaming ? await this.#stream(signal) : await this.#poll(signal);
      if (!signal.aborted) await this.#pause(delayMs, signal);
    }
  }

  /** Ends a pause: the tab is looked at again, the network is back, something was changed here. */
  wake() {
    if (!this.#refused) this.#wake?.();
  }

  /** The network went: a request that waits would only find out by its time limit. */
  cut() {
    this.#request?.abort();
  }

  /** A token that was refused for good is worth another try (somebody logged in again). */
  retry() {
    this.#refused = false;
    this.wake();
  }

  /** @param {LiveStatus} status @param {BelfryError | null} error */
  #status(status, error) {
    this.#options.onStatus(status, error);
  }

  #circumstances() {
    return { nowMs: Date.now(), hidden: this.#options.isHidden(), random: Math.random };
  }

  /** @param {number} ms @param {AbortSignal} signal */
  #pause(ms, signal) {
    if (ms <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.#wake = null;
        resolve(undefined);
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done, { once: true });
      this.#wake = done;
    });
  }

  /** One poll. @param {AbortSignal} signal @returns {Promise<number>} milliseconds to the next request */
  async #poll(signal) {
    // The first one, and the first after a failure, does not wait: it tells that all is well (again).
    const first = this.cursor === null || this.#lost;
    const waitS = first ? 0 : waitSecondsOf(this.#pace, this.#options.isHidden());
    const startMs = Date.now();
    const request = this.#open(signal);
    try {
      const answer = await this.#askPoll(waitS, request.signal);
      if (signal.aborted) return 0;
      if (answer) this.#take(answer);
      this.#lost = false;
      this.#status(this.#pace.waitS > 0 ? 'live' : 'polling', null);
      if (first) return 0;
      const { pace, delayMs } = nextPace(this.#pace, {
        kind: 'answer',
        elapsedMs: Date.now() - startMs,
        waitS,
        events: answer ? answer.feeds.inbox.events.length : 0,
        more: answer?.more ?? false,
        pollAfterMs: answer?.pollAfterMs ?? this.#pollAfterMs,
      }, this.#circumstances());
      this.#pace = pace;
      return delayMs;
    } catch (error) {
      return signal.aborted ? 0 : this.#failed(/** @type {BelfryError} */ (error), waitS, Date.now() - startMs);
    } finally {
      request.close();
    }
  }

  /** A signal for one request: falls with the loop's, and with cut(). @param {AbortSignal} signal */
  #open(signal) {
    const controller = (this.#request = new AbortController());
    const abort = () => controller.abort();
    signal.addEventListener('abort', abort, { once: true });
    const close = () => {
      this.#request = null;
      signal.removeEventListener('abort', abort);
      abort();
    };
    return { signal: controller.signal, abort, close };
  }

  #pollAfterMs = 2000;

  /** @param {number} waitS @param {AbortSignal} signal @returns {Promise<PollAnswer | null>} null: nothing new (304) */
  async #askPoll(waitS, signal) {
    const { status, headers, body } = await this.#options.api.request('GET', '/poll', {
      query: { feeds: 'inbox', cursor: this.cursor ?? undefined, wait: waitS, client: this.#options.client },
      headers: waitS === 0 && this.#etag && this.cursor !== null ? { 'If-None-Match': this.#etag } : {},
      signal,
      timeoutMs: waitS * 1000 + POLL_GRACE_MS,
    });
    this.#etag = waitS === 0 ? headers.get('ETag') : null;
    if (status === 304) return null;
    this.#pollAfterMs = body.pollAfterMs;
    return body;
  }

  /** @param {PollAnswer} answer */
  #take(answer) {
    const base = this.cursor;
    this.cursor = answer.cursor;
    this.#options.onAnswer(answer, base);
  }

  /** @param {BelfryError} error @param {number} waitS @param {number} elapsedMs */
  #failed(error, waitS, elapsedMs) {
    if (error.status === 400 && this.cursor !== null) {
      // A cursor that this server cannot read: begin again with the whole state.
      this.cursor = null;
      this.#etag = null;
    }
    const { pace, delayMs } = nextPace(this.#pace, {
      kind: 'failure', elapsedMs, waitS, gateway: error.gateway && this.#options.isOnline(), retryAfterMs: error.retryAfterMs,
    }, this.#circumstances());
    const cut = pace.failures === this.#pace.failures;
    this.#pace = pace;
    this.#lost ||= !cut;
    this.#refused = error.status === 401 || error.status === 403;
    if (!cut) this.#status(this.#refused ? 'unauthorized' : 'offline', error);
    if (this.#refused || this.#options.isOnline()) return delayMs;
    return Math.max(delayMs, ONLINE_AGAIN_MS);
  }

  /** One stream, to its end. @param {AbortSignal} signal @returns {Promise<number>} */
  async #stream(signal) {
    const request = this.#open(signal);
    const startMs = Date.now();
    let messages = 0;
    let retryMs = 3000;
    const alive = () => messages > 0 || Date.now() - startMs > STREAM_ALIVE_MS;
    try {
      const response = await this.#options.api.open('GET', '/stream', {
        query: { feeds: 'inbox', cursor: this.cursor ?? undefined },
        headers: { Accept: 'text/event-stream' },
        signal: request.signal,
      });
      const end = await this.#readStream(response, request, () => { messages += 1; }, (ms) => { retryMs = ms; });
      if (signal.aborted) return 0;
      this.#streamFailures = alive() || end !== 'closed' ? 0 : this.#streamFailures + 1;
      if (end === 'hidden') return 0;
      if (end === 'expired') return this.#options.api.forgetToken() ? 0 : 1000;
      return end === 'superseded' ? jitterMs(10 * retryMs, Math.random) : Math.round(Math.random() * retryMs);
    } catch (error) {
      if (signal.aborted) return 0;
      this.#streamFailures = alive() ? 1 : this.#streamFailures + 1;
      return this.#streamFailed(/** @type {BelfryError} */ (error));
    } finally {
      request.close();
    }
  }

  /** @param {BelfryError} error */
  #streamFailed(error) {
    if (!this.#options.isOnline()) {
      this.#streamFailures = 0; // not the stream's fault
      this.#status('offline', error);
      return ONLINE_AGAIN_MS;
    }
    if (this.#streamFailures >= 2) {
      this.#streamFailures = 0;
      this.#streamAgainAtMs = Date.now() + STREAM_AGAIN_MS;
      return 0; // the next request is a poll, which knows how to fail
    }
    return Math.max(error.retryAfterMs ?? 0, backoffMs(1, Math.random));
  }

  /**
   * @param {Response} response
   * @param {{ signal: AbortSignal, abort: () => void }} request
   * @param {() => void} onMessage
   * @param {(ms: number) => void} onRetry
   * @returns {Promise<string>} why it ended
   */
  async #readStream(response, request, onMessage, onRetry) {
    if (!response.body) throw new BelfryError('this browser cannot read streams');
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new SseParser();
    let timer = setTimeout(request.abort, STREAM_SILENT_MS);
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return 'closed';
        clearTimeout(timer);
        timer = setTimeout(request.abort, STREAM_SILENT_MS);
        for (const message of parser.push(value)) {
          if (request.signal.aborted) return 'closed';
          if (message.event === 'end') return JSON.parse(message.data).reason ?? 'closed';
          if (message.event !== 'update') continue;
          this.#take({ ...JSON.parse(message.data), cursor: message.id });
          this.#status('live', null);
          onMessage();
        }
        if (parser.retryMs !== null) onRetry(parser.retryMs);
        if (this.#options.isHidden()) return 'hidden';
      }
    } catch (cause) {
      throw cause instanceof BelfryError ? cause : new BelfryError('the stream broke', { cause });
    } finally {
      clearTimeout(timer);
      reader.cancel().catch(() => {});
    }
  }
}
