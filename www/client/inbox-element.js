/**
 * `<belfry-inbox>`: a bell with a badge, and the list behind it. With the attribute `inline` the list
 * alone, as part of the page.
 *
 *     import '@belfry/client/element';
 *     document.querySelector('belfry-inbox').client = new BelfryClient({ … });
 *
 * Attributes: `inline`; `badge` = `unseen` (default; empties when the list is opened) or `unread`;
 * `theme` = `light` or `dark` where the system's choice is not wanted. Properties: `client`, `labels`.
 * Events: `belfry-open` (a notification was opened; cancel it to keep the browser from following its
 * link), `belfry-action` (a button was pressed). Both have the notification in `detail.notification`.
 *
 * Several elements may share one client. The element starts the client and never stops it.
 */

import { h, icon, safeUrl } from './dom.js';
import { visibleItems } from './inbox.js';
import { InboxRow } from './inbox-row.js';
import { inboxStyle } from './inbox-style.js';

const UNDO_MS = 8000;
const GLOW_MS = 2600;
const TICK_MS = 20_000;
/** A first state holds at most so many: where there are as many, there may be older ones. */
const FIRST_ITEMS = 50;

/** English texts; `element.labels = { … }` replaces some or all. */
const LABELS = {
  locale: /** @type {string | undefined} */ (undefined),
  title: 'Notifications',
  unread: 'Unread',
  all: 'All',
  show: 'Show',
  count: (/** @type {number} */ n) => `${n} unread`,
  bell: (/** @type {number} */ n) => (n ? `Notifications, ${n} unread` : 'Notifications'),
  readAll: 'Mark all as read',
  markRead: 'Mark as read',
  markUnread: 'Mark as unread',
  archive: 'Archive',
  archived: 'Archived.',
  undo: 'Undo',
  older: 'Show older ones',
  emptyTitle: 'All caught up',
  emptyText: 'New notifications appear here by themselves.',
  noUnread: 'Nothing unread',
  connecting: 'Connecting…',
  offline: 'No connection. What you see may be old; trying again.',
  unauthorized: 'You are signed out.',
  retry: 'Try again',
  failed: 'That did not work. Please try again.',
  arrived: (/** @type {string} */ title) => `New notification: ${title}`,
  arrivedMany: (/** @type {number} */ n) => `${n} new notifications`,
  priority: /** @type {Record<string, string>} */ ({ high: 'Important', urgent: 'Urgent' }),
};

// So that the module can be read where there is no browser (server rendering, tests).
const Base = /** @type {typeof HTMLElement} */ (globalThis.HTMLElement ?? class {});

export class BelfryInbox extends Base {
  static observedAttributes = ['inline', 'badge'];

  /** @type {import('./belfry.js').BelfryClient | null} */
  #client = null;
  #labels = LABELS;
  #unreadOnly = false;
  #open = false;
  /** @type {Map<string, InboxRow>} */
  #rows = new Map();
  /** @type {string | null | undefined} */
  #olderCursor = undefined;
  #seeing = false;
  /** @type {Record<string, any>} */
  #parts = {};
  #ticker = 0;
  #undoTimer = 0;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    root.adoptedStyleSheets = [inboxStyle()];
    this.#build(root);
  }

  /** The source of the notifications; may be set at any time. */
  get client() {
    return this.#client;
  }

  set client(client) {
    this.#listen(false);
    this.#client = client;
    this.#rows.clear();
    this.#olderCursor = undefined;
    if (this.isConnected) this.#connect();
  }

  get labels() {
    return this.#labels;
  }

  set labels(labels) {
    this.#labels = { ...LABELS, ...labels };
    this.#rows.clear();
    this.#build(/** @type {ShadowRoot} */ (this.shadowRoot));
    this.#render();
  }

  connectedCallback() {
    this.#ticker = window.setInterval(() => this.#tick(), TICK_MS);
    document.addEventListener('pointerdown', this.#onOutside, true);
    document.addEventListener('keydown', this.#onEscape);
    this.#connect();
  }

  disconnectedCallback() {
    window.clearInterval(this.#ticker);
    document.removeEventListener('pointerdown', this.#onOutside, true);
    document.removeEventListener('keydown', this.#onEscape);
    this.#listen(false);
  }

  attributeChangedCallback() {
    this.#render();
  }

  /** Opens the panel and marks everything as seen. */
  open() {
    this.#setOpen(true);
    this.#parts.panel.focus();
    this.#see();
  }

  close() {
    const elsewhere = document.activeElement && document.activeElement !== document.body && document.activeElement !== this;
    this.#setOpen(false);
    if (!elsewhere) this.#parts.bell.focus();
  }

  // ---- building ------------------------------------------------------------------------------

  /** @param {ShadowRoot} root */
  #build(root) {
    const labels = this.#labels;
    /** @type {Record<string, any>} */
    const p = (this.#parts = {});
    p.badge = h('span', { class: 'badge', part: 'badge', 'aria-hidden': 'true' });
    p.bell = h('button', { class: 'bell', part: 'bell', type: 'button', 'aria-haspopup': 'dialog', 'aria-controls': 'panel', onclick: () => (this.#open ? this.close() : this.open()) }, icon('bell'), p.badge);
    p.count = h('span', { class: 'count' });
    p.readAll = h('button', { class: 'text-button', type: 'button', onclick: () => this.#do((client) => client.readAll()) }, icon('all'), labels.readAll);
    p.all = h('button', { class: 'filter', type: 'button', onclick: () => this.#filter(false) }, labels.all);
    p.unread = h('button', { class: 'filter', type: 'button', onclick: () => this.#filter(true) }, labels.unread);
    p.retry = h('button', { class: 'text-button', type: 'button', onclick: () => this.#client?.retry() }, labels.retry);
    p.noticeText = h('span', {});
    p.notice = h('p', { class: 'notice', role: 'status' }, p.noticeText, p.retry);
    p.list = h('ul', { class: 'list', role: 'list' });
    p.emptyTitle = h('strong', {});
    p.emptyText = h('span', {}, labels.emptyText);
    p.empty = h('div', { class: 'empty' }, icon('bell'), p.emptyTitle, p.emptyText);
    p.older = h('button', { class: 'older', type: 'button', onclick: () => this.#loadOlder() }, labels.older);
    p.undoButton = h('button', { class: 'text-button', type: 'button' }, labels.undo);
    p.undo = h('div', { class: 'undo', role: 'status', hidden: true }, h('span', {}, labels.archived), p.undoButton);
    p.panel = h('section', { id: 'panel', class: 'panel', part: 'panel', tabindex: '-1', 'aria-label': labels.title },
      h('div', { class: 'head' }, h('h2', {}, labels.title), p.count, p.readAll),
      h('div', { class: 'filters', role: 'group', 'aria-label': labels.show }, p.all, p.unread),
      p.notice,
      h('div', { class: 'scroll' }, p.list, p.empty, p.older),
      p.undo);
    p.speech = h('div', { class: 'sr', role: 'status', 'aria-live': 'polite' });
    p.panel.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => this.#onKey(event));
    p.panel.addEventListener('pointerenter', () => this.#see());
    p.panel.addEventListener('focusin', () => this.#see());
    root.replaceChildren(p.bell, p.panel, p.speech);
  }

  // ---- the client ----------------------------------------------------------------------------

  #connect() {
    this.#listen(true);
    this.#client?.start();
    this.#render();
  }

  /** @param {boolean} on */
  #listen(on) {
    const change = on ? 'addEventListener' : 'removeEventListener';
    this.#client?.[change]('change', this.#onChange);
    this.#client?.[change]('status', this.#onChange);
    this.#client?.[change]('arrived', this.#onArrived);
  }

  #onChange = () => this.#render();

  /** @param {any} event */
  #onArrived = (event) => {
    const items = /** @type {import('./inbox.js').InboxItem[]} */ (event.detail);
    for (const { id } of items) this.#glow(this.#rows.get(id)?.element);
    this.#parts.speech.textContent = items.length === 1 ? this.#labels.arrived(items[0].title) : this.#labels.arrivedMany(items.length);
    this.#parts.bell.classList.remove('ring');
    requestAnimationFrame(() => this.#parts.bell.classList.add('ring'));
    if (this.#open) this.#see();
  };

  /** A row that just came glides in; once, not each time the panel opens. @param {HTMLElement | undefined} element */
  #glow(element) {
    element?.classList.add('fresh');
    window.setTimeout(() => element?.classList.remove('fresh'), GLOW_MS);
  }

  /** @param {(client: import('./belfry.js').BelfryClient) => Promise<unknown>} what */
  async #do(what) {
    if (!this.#client) return;
    try {
      await what(this.#client);
    } catch (error) {
      const message = /** @type {Error} */ (error).message;
      this.#parts.speech.textContent = message || this.#labels.failed;
      this.#notice(this.#labels.failed, false);
    }
  }

  /** What somebody looks at is seen: an open panel, a list that is touched. */
  async #see() {
    if (this.#seeing || !this.#client?.state.unseenCount) return;
    this.#seeing = true;
    await this.#do((client) => client.seenAll());
    this.#seeing = false;
  }

  async #loadOlder() {
    await this.#do(async (client) => {
      // The first page only tells where the second begins: its rows are here already.
      if (this.#olderCursor === undefined) this.#olderCursor = await client.loadOlder(undefined);
      if (this.#olderCursor) this.#olderCursor = await client.loadOlder(this.#olderCursor);
    });
    this.#render();
  }

  // ---- rendering -----------------------------------------------------------------------------

  #render() {
    const p = this.#parts;
    if (!p.panel) return;
    const state = this.#client?.state ?? { known: false, notifications: [], unreadCount: 0, unseenCount: 0, version: 0, deleted: [] };
    const inline = this.hasAttribute('inline');
    p.panel.hidden = !inline && !this.#open;
    p.panel.setAttribute('role', inline ? 'region' : 'dialog');
    p.bell.hidden = inline;
    p.bell.setAttribute('aria-expanded', String(this.#open));
    p.bell.setAttribute('aria-label', this.#labels.bell(state.unreadCount));
    const badge = this.getAttribute('badge') === 'unread' ? state.unreadCount : state.unseenCount;
    p.badge.hidden = badge === 0;
    p.badge.textContent = badge > 99 ? '99+' : String(badge);
    p.count.textContent = state.unreadCount ? this.#labels.count(state.unreadCount) : '';
    p.readAll.disabled = state.unreadCount === 0;
    p.all.setAttribute('aria-pressed', String(!this.#unreadOnly));
    p.unread.setAttribute('aria-pressed', String(this.#unreadOnly));
    this.#renderList(state);
    this.#renderStatus(state.known);
  }

  /** @param {import('./inbox.js').InboxState} state */
  #renderList(state) {
    const p = this.#parts;
    const items = visibleItems(state, { now: new Date().toISOString(), unreadOnly: this.#unreadOnly });
    const focused = this.#focusedRow();
    const kept = new Map();
    for (const item of items) {
      const row = this.#rows.get(item.id) ?? new InboxRow(item, this.#labels, this.#handlers);
      if (row.item !== item) row.update(item);
      kept.set(item.id, row);
    }
    this.#rows = kept;
    place(p.list, [...kept.values()].map((row) => row.element));
    if (focused && !focused.element.isConnected) this.#refocus(focused.index);
    p.empty.hidden = items.length > 0 || !state.known;
    p.emptyTitle.textContent = this.#unreadOnly ? this.#labels.noUnread : this.#labels.emptyTitle;
    p.emptyText.hidden = this.#unreadOnly;
    const more = this.#olderCursor === undefined ? state.notifications.length >= FIRST_ITEMS : this.#olderCursor !== null;
    p.older.hidden = !more || this.#unreadOnly;
  }

  /** @param {boolean} known */
  #renderStatus(known) {
    const status = this.#client?.status ?? 'connecting';
    if (status === 'offline') this.#notice(this.#labels.offline, true);
    else if (status === 'unauthorized') this.#notice(this.#labels.unauthorized, true);
    else this.#notice(known ? '' : this.#labels.connecting, false);
  }

  /** @param {string} text @param {boolean} retry */
  #notice(text, retry) {
    const p = this.#parts;
    if (p.noticeText.textContent !== text) p.noticeText.textContent = text;
    p.notice.hidden = !text;
    p.retry.hidden = !retry;
  }

  #tick() {
    if (document.visibilityState === 'hidden') return;
    const nowMs = Date.now();
    for (const row of this.#rows.values()) row.updateTime(nowMs);
    // Something may have expired, or its snooze may be over.
    if (this.#client) this.#renderList(this.#client.state);
  }

  // ---- what people do ------------------------------------------------------------------------

  /** @type {import('./inbox-row.js').RowHandlers} */
  #handlers = {
    open: (item, event) => {
      const go = this.#emit('belfry-open', { notification: item });
      if (!go) event.preventDefault();
      this.#rows.get(item.id)?.element.classList.toggle('open');
      if (!item.readAt) this.#do((client) => client.markRead(item.id));
    },
    toggleRead: (item) => this.#do((client) => (item.readAt ? client.markUnread(item.id) : client.markRead(item.id))),
    archive: (item) => this.#do(async (client) => {
      await client.archive(item.id);
      this.#offerUndo(item.id);
    }),
    act: (item, action) => this.#do(async (client) => {
      if (item.action === action.id) return;
      const url = safeUrl(action.url);
      // Opened before the answer: later the browser would take it for a pop-up.
      if (url && this.#emit('belfry-action', { notification: item, action: action.id })) window.open(url, '_blank', 'noopener');
      else if (!url) this.#emit('belfry-action', { notification: item, action: action.id });
      await client.act(item.id, action.id);
    }),
  };

  /** @param {string} name @param {object} detail @returns {boolean} false: somebody cancelled it */
  #emit(name, detail) {
    return this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true, cancelable: true }));
  }

  /** @param {string} id */
  #offerUndo(id) {
    const { undo, undoButton } = this.#parts;
    window.clearTimeout(this.#undoTimer);
    const hide = () => {
      undo.hidden = true;
    };
    undoButton.onclick = () => {
      hide();
      this.#do((client) => client.unarchive(id));
      this.#parts.panel.focus();
    };
    undo.hidden = false;
    this.#undoTimer = window.setTimeout(hide, UNDO_MS);
  }

  /** @param {boolean} unreadOnly */
  #filter(unreadOnly) {
    this.#unreadOnly = unreadOnly;
    this.#render();
  }

  /** @param {boolean} open */
  #setOpen(open) {
    this.#open = open;
    this.#render();
  }

  /** @param {Event} event */
  #onOutside = (event) => {
    if (this.#open && !event.composedPath().includes(this)) this.#setOpen(false);
  };

  /** @param {KeyboardEvent} event */
  #onEscape = (event) => {
    if (event.key !== 'Escape' || !this.#open || event.defaultPrevented) return;
    event.preventDefault();
    this.close();
  };

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const titles = [...this.#rows.values()].map((row) => row.title);
    const at = this.#focusedRow()?.index ?? -1;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: titles.length - 1 }[event.key];
    if (to === undefined || !titles[to]) return;
    event.preventDefault();
    titles[to].focus();
  }

  #focusedRow() {
    const active = this.shadowRoot?.activeElement;
    const rows = [...this.#rows.values()];
    const index = active ? rows.findIndex((row) => row.element.contains(active)) : -1;
    return index < 0 ? null : { index, element: rows[index].element };
  }

  /** The focused row went: its successor takes the focus, so the keyboard does not fall out of the list. @param {number} index */
  #refocus(index) {
    const rows = [...this.#rows.values()];
    const next = rows[Math.min(index, rows.length - 1)];
    (next?.title ?? this.#parts.panel).focus();
  }
}

/** Puts the children into the list in this order, moving none that stands right. @param {HTMLElement} list @param {HTMLElement[]} children */
function place(list, children) {
  const wanted = new Set(children);
  for (const child of [...list.children]) if (!wanted.has(/** @type {HTMLElement} */ (child))) child.remove();
  children.forEach((child, i) => {
    if (list.children[i] !== child) list.insertBefore(child, list.children[i] ?? null);
  });
}

if (globalThis.customElements && !customElements.get('belfry-inbox')) customElements.define('belfry-inbox', BelfryInbox);
