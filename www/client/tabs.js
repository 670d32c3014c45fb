/**
 * One tab of a browser polls, the others listen. The leader holds a Web Lock; when its tab goes, the
 * browser gives the lock to another one, which goes on from the cursor that every tab keeps. What the
 * leader learns it tells on a BroadcastChannel. Without either of the two, each tab leads for itself.
 *
 * Leadership follows the eye: a hidden leader hands over to a tab that somebody looks at, because phones
 * stop hidden tabs without telling anybody.
 *
 * Messages carry what was answered and the cursor it follows on, so a tab that missed one notices and
 * asks for the whole state.
 */

/**
 * @typedef {object} TabsOptions
 * @property {string} key                                     one per server and user
 * @property {boolean} share
 * @property {(signal: AbortSignal) => Promise<void>} lead     called each time this tab becomes the leader; returns when the signal falls
 * @property {(message: any) => void} onMessage                what another tab told (`tell`)
 */

export class Tabs {
  #options;
  /** @type {BroadcastChannel | null} */
  #channel = null;
  /** Other tabs that somebody looks at. @type {Set<string>} */
  #visible = new Set();
  #controller = new AbortController();
  /** Ends this tab's leadership. @type {AbortController | null} */
  #term = null;
  leading = false;

  /** @param {TabsOptions} options */
  constructor(options) {
    this.#options = options;
    this.id = randomId();
  }

  start() {
    const { share, key } = this.#options;
    const { signal } = this.#controller;
    if (!share || !globalThis.navigator?.locks || typeof BroadcastChannel === 'undefined') {
      this.#lead(signal);
      return;
    }
    this.#channel = new BroadcastChannel(key);
    this.#channel.onmessage = (event) => this.#receive(event.data);
    this.#channel.postMessage({ kind: 'hello', from: this.id, visible: !isHidden() });
    document.addEventListener('visibilitychange', this.#onVisibility);
    window.addEventListener('pagehide', this.#onHide);
    this.#queue(signal);
  }

  /** Waits for the lock and leads, until this tab stops. @param {AbortSignal} signal */
  async #queue(signal) {
    try {
      while (!signal.aborted) await navigator.locks.request(this.#options.key, { signal }, () => this.#lead(signal));
    } catch (error) {
      // A page that may not use locks (an opaque origin, say) leads for itself.
      if (!signal.aborted) await this.#lead(signal);
    }
  }

  stop() {
    this.#onHide();
    this.#controller.abort();
    this.#channel?.close();
    this.#channel = null;
    if (typeof document !== 'undefined') {
      document.removeEventListener('visibilitychange', this.#onVisibility);
      window.removeEventListener('pagehide', this.#onHide);
    }
  }

  /** Tells all other tabs. @param {object} message  structured-cloneable, with a `kind` */
  tell(message) {
    this.#channel?.postMessage({ ...message, from: this.id });
  }

  /** Nobody looks at this tab nor at any other one. */
  get allHidden() {
    return isHidden() && this.#visible.size === 0;
  }

  /** @param {AbortSignal} signal  falls when this tab stops */
  async #lead(signal) {
    if (signal.aborted) return;
    const term = (this.#term = new AbortController());
    const end = () => term.abort();
    signal.addEventListener('abort', end, { once: true });
    this.leading = true;
    this.tell({ kind: 'who' });
    try {
      await this.#options.lead(term.signal);
    } finally {
      this.leading = false;
      this.#term = null;
      signal.removeEventListener('abort', end);
    }
  }

  #onVisibility = () => this.tell({ kind: 'visible', visible: !isHidden() });
  #onHide = () => this.tell({ kind: 'visible', visible: false });

  /** @param {any} message */
  #receive(message) {
    if (!message || typeof message !== 'object' || message.from === this.id) return;
    if (message.kind === 'who') this.#onVisibility();
    if (message.kind === 'hello' || message.kind === 'visible') {
      if (message.visible) this.#visible.add(message.from);
      else this.#visible.delete(message.from);
    }
    if (message.to && message.to !== this.id) return;
    this.#options.onMessage(message);
    // Only on a message that says so now: what we remember may be of a tab that crashed.
    if (message.visible && isHidden()) this.#term?.abort();
  }
}

export function isHidden() {
  return typeof document !== 'undefined' && document.visibilityState === 'hidden';
}

/** 96 bits by chance, in letters that a poll's `client` may have. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
