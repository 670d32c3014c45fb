/**
 * Belfry in the browser: an inbox that stays up to date, and everything a user may do with it.
 *
 *     const belfry = new BelfryClient({ url: 'https://notify.example', token: async () => … });
 *     belfry.addEventListener('change', () => render(belfry.state));
 *     belfry.start();
 *
 * Events: `change` (the state is another one), `arrived` (`detail`: the new notifications), `status`
 * (`detail`: `{status, error}`), `clicked` (`detail`: `{id, action}`, a push notification was clicked).
 *
 * Long-polls, and polls where that is not offered; with `mode: 'stream'` it streams. Of all tabs with
 * the same server and user one asks, and the others hear of it.
 */

import { Api, BelfryError, tokenClaims } from './http.js';
import { apply, applyOwn, arrivals, emptyInbox, mergePage } from './inbox.js';
import { Live } from './live.js';
import { disablePush, enablePush, pushSupported } from './push.js';
import { isHidden, randomId, Tabs } from './tabs.js';

export { BelfryError } from './http.js';
export { visibleItems } from './inbox.js';
export { pushSupported };

/**
 * @typedef {object} ClientOptions
 * @property {string} [url]        scheme, host and port of Belfry; empty: where the page comes from
 * @property {string | (() => string | Promise<string>)} token  the user's JWT, or how to get one
 * @property {'auto' | 'stream'} [mode]
 * @property {boolean} [shareTabs]   false: this tab asks for itself
 * @property {typeof fetch} [fetch]
 */

export class BelfryClient extends EventTarget {
  #api;
  #options;
  /** @type {import('./inbox.js').InboxState} */
  #state = emptyInbox();
  /** @type {string | null} */
  #cursor = null;
  #poller = randomId();
  /** @type {Tabs | null} */
  #tabs = null;
  /** @type {Live | null} */
  #live = null;
  /** Names one start; null: stopped. @type {object | null} */
  #running = null;
  /** @type {{ status: import('./live.js').LiveStatus, error: BelfryError | null }} */
  #status = { status: 'connecting', error: null };

  /** @param {ClientOptions} options */
  constructor(options) {
    super();
    this.#options = { url: '', mode: 'auto', shareTabs: true, ...options };
    this.#api = new Api(this.#options);
  }

  /** What is known of the inbox; a new object with each `change`. */
  get state() {
    return this.#state;
  }

  /** `connecting`, `live`, `polling`, `offline` or `unauthorized`. */
  get status() {
    return this.#status.status;
  }

  /** Begins to listen. Does nothing when it does already. */
  start() {
    if (this.#running) return;
    const run = (this.#running = {});
    globalThis.addEventListener?.('online', this.#onBack);
    globalThis.addEventListener?.('offline', this.#onGone);
    globalThis.document?.addEventListener('visibilitychange', this.#onBack);
    globalThis.navigator?.serviceWorker?.addEventListener('message', this.#onWorkerMessage);
    globalThis.navigator?.serviceWorker?.controller?.postMessage({ kind: 'belfry-ready' });
    this.#join(run);
  }

  /** Stops listening; the state stays. */
  stop() {
    this.#running = null;
    this.#tabs?.stop();
    this.#tabs = null;
    this.#live = null;
    globalThis.removeEventListener?.('online', this.#onBack);
    globalThis.removeEventListener?.('offline', this.#onGone);
    globalThis.document?.removeEventListener('visibilitychange', this.#onBack);
    globalThis.navigator?.serviceWorker?.removeEventListener('message', this.#onWorkerMessage);
  }

  /** Tries again at once, after `offline` or `unauthorized`. */
  retry() {
    if (this.#live) this.#live.retry();
    else this.#tabs?.tell({ kind: 'retry' });
  }

  // ---- the inbox -----------------------------------------------------------------------------

  /**
   * One page of the inbox, as the server has it now; does not touch `state`.
   * @param {{ limit?: number, cursor?: string, state?: 'inbox' | 'unread' | 'archived' | 'snoozed' | 'all', category?: string, type?: string, q?: string }} [query]
   * @returns {Promise<{ notifications: import('./inbox.js').InboxItem[], unreadCount: number, unseenCount: number, nextCursor: string | null }>}
   */
  async listInbox(query = {}) {
    return (await this.#api.request('GET', '/inbox', { query })).body;
  }

  /**
   * Fetches the next older page into `state`.
   * @param {string | undefined} cursor  `nextCursor` of the page before
   * @returns {Promise<string | null>}   the cursor of the next one; null: that was the last
   */
  async loadOlder(cursor) {
    for (let tries = 0; tries < 3; tries += 1) {
      const since = this.#state.version;
      const page = await this.listInbox({ limit: 50, cursor });
      const merged = mergePage(this.#state, page.notifications, since);
      if (!merged) continue;
      this.#setState(merged);
      return page.nextCursor;
    }
    return cursor ?? null;
  }

  /** @param {string} id */
  markRead(id) {
    return this.#patch(id, { read: true });
  }

  /** @param {string} id */
  markUnread(id) {
    return this.#patch(id, { read: false });
  }

  /** @param {string} id */
  markSeen(id) {
    return this.#patch(id, { seen: true });
  }

  /** @param {string} id */
  archive(id) {
    return this.#patch(id, { archived: true });
  }

  /** @param {string} id */
  unarchive(id) {
    return this.#patch(id, { archived: false });
  }

  /** Hides it until then; null shows it again. @param {string} id @param {Date | null} until */
  snooze(id, until) {
    return this.#patch(id, { snoozedUntil: until ? until.toISOString() : null });
  }

  /** Deletes one. @param {string} id */
  delete(id) {
    return this.#change('DELETE', `/inbox/${encodeURIComponent(id)}`, undefined, { removed: id });
  }

  /** Presses a button. @param {string} id @param {string} action @throws {BelfryError} 409 when another one was pressed */
  act(id, action) {
    return this.#change('POST', `/inbox/${encodeURIComponent(id)}/actions/${encodeURIComponent(action)}`);
  }

  readAll() {
    return this.#change('POST', '/inbox/read-all', undefined, { mark: 'read-all' });
  }

  seenAll() {
    return this.#change('POST', '/inbox/seen-all', undefined, { mark: 'seen-all' });
  }

  deleteAll() {
    return this.#change('DELETE', '/inbox', undefined, { mark: 'delete-all' });
  }

  // ---- preferences and push ------------------------------------------------------------------

  /** @returns {Promise<{ channels: Record<string, boolean>, categories: Record<string, Record<string, boolean>> }>} */
  async getPreferences() {
    return (await this.#api.request('GET', '/preferences')).body;
  }

  /** Replaces all of them. @param {{ channels?: Record<string, boolean>, categories?: Record<string, Record<string, boolean>> }} preferences */
  async putPreferences(preferences) {
    return (await this.#api.request('PUT', '/preferences', { body: preferences })).body;
  }

  /**
   * Web Push for this browser; call it from a click.
   * @param {{ serviceWorker?: string }} [options]  where sw.js is; its folder is its scope
   */
  enablePush({ serviceWorker = '/sw.js' } = {}) {
    return enablePush(this.#api, serviceWorker);
  }

  disablePush() {
    return disablePush(this.#api);
  }

  // ---- inside --------------------------------------------------------------------------------

  /** @param {string} id @param {object} body */
  #patch(id, body) {
    return this.#change('PATCH', `/inbox/${encodeURIComponent(id)}`, body);
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @param {{ removed?: string, mark?: 'delete-all' | 'read-all' | 'seen-all' }} [meaning]
   */
  async #change(method, path, body, meaning = {}) {
    const since = this.#state.version;
    const { body: answer } = await this.#api.request(method, path, { body });
    this.#setState(applyOwn(this.#state, { ...answer, ...meaning }, since, now()));
    this.#live?.wake();
    return answer;
  }

  /** @param {object} run */
  async #join(run) {
    let key;
    try {
      const { iss, sub } = tokenClaims(await this.#api.token());
      // The whole address, not its hash: two users must never share a channel.
      key = JSON.stringify(['belfry', this.#api.base, iss, sub]);
    } catch (error) {
      this.#setStatus('unauthorized', /** @type {BelfryError} */ (error));
      setTimeout(() => this.#running === run && this.#join(run), 5000);
      return;
    }
    if (this.#running !== run) return;
    this.#tabs = new Tabs({
      key,
      share: this.#options.shareTabs,
      lead: (signal) => this.#lead(signal),
      onMessage: (message) => this.#onTabMessage(message),
    });
    this.#tabs.start();
  }

  /** @param {AbortSignal} signal */
  async #lead(signal) {
    const tabs = this.#tabs;
    this.#live = new Live({
      api: this.#api,
      client: this.#poller,
      stream: this.#options.mode === 'stream',
      cursor: this.#cursor,
      isHidden: () => tabs?.allHidden ?? isHidden(),
      isOnline: () => globalThis.navigator?.onLine ?? true,
      onAnswer: (answer, base) => {
        tabs?.tell({ kind: 'answer', answer, base });
        this.#take(answer, base);
      },
      onStatus: (status, error) => {
        tabs?.tell({ kind: 'status', status, message: error?.message ?? null });
        this.#setStatus(status, error);
      },
    });
    await this.#live.run(signal);
    this.#live = null;
  }

  /** @param {any} message */
  #onTabMessage(message) {
    const leading = this.#tabs?.leading;
    if (leading) {
      if (message.kind === 'hello' && this.#state.known) this.#tellState(message.from);
      if (message.kind === 'visible' || message.kind === 'hello') this.#live?.wake();
      if (message.kind === 'retry') this.retry();
      return;
    }
    if (message.kind === 'state') this.#takeOver(message);
    if (message.kind === 'answer') {
      const follows = message.base === null || message.answer.feeds.inbox.reset || message.base === this.#cursor;
      if (follows) this.#take(message.answer, message.base);
      else this.#tabs?.tell({ kind: 'hello', visible: !isHidden() });
    }
    if (message.kind === 'status') {
      this.#setStatus(message.status, message.message === null ? null : new BelfryError(message.message));
    }
  }

  /** @param {string} to */
  #tellState(to) {
    this.#tabs?.tell({ kind: 'state', to, state: this.#state, cursor: this.#cursor, poller: this.#poller, status: this.#status.status });
  }

  /** @param {{ state: import('./inbox.js').InboxState, cursor: string, poller: string, status: import('./live.js').LiveStatus }} message */
  #takeOver({ state, cursor, poller, status }) {
    this.#cursor = cursor;
    this.#poller = poller; // so that our first poll, should we lead one day, ends the old leader's
    this.#setState(state);
    this.#setStatus(status, null);
  }

  /** @param {import('./live.js').PollAnswer} answer @param {string | null} base */
  #take(answer, base) {
    const feed = base === null ? { ...answer.feeds.inbox, reset: true } : answer.feeds.inbox;
    const fresh = arrivals(this.#state, feed);
    this.#cursor = answer.cursor;
    this.#setState(apply(this.#state, feed, now()));
    if (fresh.length) this.dispatchEvent(new CustomEvent('arrived', { detail: fresh }));
  }

  /** @param {import('./inbox.js').InboxState} state */
  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.dispatchEvent(new CustomEvent('change', { detail: state }));
  }

  /** @param {import('./live.js').LiveStatus} status @param {BelfryError | null} error */
  #setStatus(status, error) {
    if (status === this.#status.status && error === this.#status.error) return;
    this.#status = { status, error };
    this.dispatchEvent(new CustomEvent('status', { detail: this.#status }));
  }

  #onBack = () => {
    if (!isHidden()) this.#live?.wake();
  };

  #onGone = () => this.#live?.cut();

  /** @param {MessageEvent} event */
  #onWorkerMessage = (event) => {
    if (event.data?.kind !== 'belfry-click') return;
    const { id, action } = event.data;
    if (action) this.act(id, action).catch(() => {}); // a button pressed twice, or gone: the inbox tells
    else this.markRead(id).catch(() => {});
    this.dispatchEvent(new CustomEvent('clicked', { detail: { id, action } }));
  };
}

function now() {
  return new Date().toISOString();
}
