/**
 * One notification in the list of `<belfry-inbox>`. A row is made once and then brought up to date in
 * place, so that focus and reading position stay where they are.
 */

import { h, icon, relativeTime, safeUrl } from './dom.js';

/**
 * @typedef {object} RowHandlers
 * @property {(item: import('./inbox.js').InboxItem, event: Event) => void} open
 * @property {(item: import('./inbox.js').InboxItem) => void} toggleRead
 * @property {(item: import('./inbox.js').InboxItem) => void} archive
 * @property {(item: import('./inbox.js').InboxItem, action: import('./inbox.js').InboxAction) => void} act
 */

export class InboxRow {
  #handlers;
  #labels;
  /** @type {import('./inbox.js').InboxItem} */
  item;
  #actionsKey = '';

  /**
   * @param {import('./inbox.js').InboxItem} item
   * @param {Record<string, any>} labels
   * @param {RowHandlers} handlers
   */
  constructor(item, labels, handlers) {
    this.item = item;
    this.#labels = labels;
    this.#handlers = handlers;
    this.#build(item);
    this.update(item);
  }

  /** @param {import('./inbox.js').InboxItem} item */
  #build(item) {
    const url = safeUrl(item.url);
    this.titleText = h('span', {});
    this.unreadHint = h('span', { class: 'sr' });
    const inTitle = [this.unreadHint, this.titleText];
    const open = (/** @type {Event} */ event) => this.#handlers.open(this.item, event);
    this.title = url
      ? h('a', { class: 'title', href: url, onclick: open }, ...inTitle)
      : h('button', { class: 'title', type: 'button', onclick: open }, ...inTitle);
    this.title.setAttribute('aria-keyshortcuts', 'R E');
    this.body = h('p', { class: 'body' });
    this.meta = h('span', { class: 'sender' });
    this.time = h('time', {});
    this.mark = h('span', { class: 'priority' });
    this.actions = h('div', { class: 'actions' });
    this.readTool = h('button', { class: 'tool', type: 'button', onclick: () => this.#handlers.toggleRead(this.item) });
    this.archiveTool = h('button', { class: 'tool', type: 'button', onclick: () => this.#handlers.archive(this.item) }, icon('archive'));
    this.avatar = h('div', { class: 'avatar', 'aria-hidden': 'true' });
    this.element = h('li', { class: 'row' },
      this.avatar,
      h('div', { class: 'main' },
        h('div', { class: 'meta' }, this.meta, this.mark, this.time),
        this.title, this.body, this.actions),
      h('div', { class: 'tools' }, this.readTool, this.archiveTool));
    this.element.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => this.#onKey(event));
  }

  /** @param {import('./inbox.js').InboxItem} item */
  update(item) {
    const labels = this.#labels;
    this.item = item;
    const unread = !item.readAt;
    const from = item.sender?.name ?? item.category;
    this.element.classList.toggle('unread', unread);
    this.unreadHint.textContent = unread ? `${labels.unread}: ` : '';
    setText(this.titleText, item.title);
    setText(this.body, item.body);
    this.body.hidden = !item.body;
    setText(this.meta, from);
    this.#updateAvatar(from, item);
    this.mark.hidden = item.priority !== 'urgent' && item.priority !== 'high';
    setText(this.mark, labels.priority[item.priority] ?? '');
    this.mark.dataset.priority = item.priority;
    this.time.dateTime = item.createdAt;
    this.time.title = new Date(item.createdAt).toLocaleString(labels.locale);
    this.updateTime(Date.now());
    this.#updateTools(unread, item);
    this.#updateActions(item);
  }

  /** @param {number} nowMs */
  updateTime(nowMs) {
    setText(this.time, relativeTime(this.item.createdAt, nowMs, this.#labels.locale));
  }

  /** @param {boolean} unread @param {import('./inbox.js').InboxItem} item */
  #updateTools(unread, item) {
    const readLabel = unread ? this.#labels.markRead : this.#labels.markUnread;
    if (this.readTool.title !== readLabel) this.readTool.replaceChildren(icon(unread ? 'read' : 'unread'));
    for (const [tool, label] of [[this.readTool, readLabel], [this.archiveTool, this.#labels.archive]]) {
      tool.title = label;
      tool.setAttribute('aria-label', `${label}: ${item.title}`);
    }
  }

  /** @param {string} from @param {import('./inbox.js').InboxItem} item */
  #updateAvatar(from, item) {
    const url = safeUrl(item.sender?.avatarUrl);
    const key = url ?? from;
    if (this.avatar.dataset.key === key) return;
    this.avatar.dataset.key = key;
    const initial = [...from.trim()][0]?.toLocaleUpperCase() ?? '·';
    const image = url ? h('img', { src: url, alt: '', referrerpolicy: 'no-referrer', onerror: () => this.avatar.replaceChildren(initial) }) : null;
    this.avatar.replaceChildren(image ?? initial);
    this.avatar.dataset.hue = String([...from].reduce((sum, c) => sum + (c.codePointAt(0) ?? 0), 0) % 5);
  }

  /** @param {import('./inbox.js').InboxItem} item */
  #updateActions(item) {
    const key = JSON.stringify([item.actions, item.action]);
    if (key === this.#actionsKey) return;
    this.#actionsKey = key;
    this.actions.hidden = item.actions.length === 0;
    const focused = [...this.actions.children].findIndex((button) => button.matches(':focus'));
    this.actions.replaceChildren(...item.actions.map((action) => {
      const taken = item.action === action.id;
      return h('button', {
        class: 'action',
        type: 'button',
        'aria-pressed': taken ? 'true' : null,
        disabled: item.action !== null && !taken,
        onclick: () => this.#handlers.act(this.item, action),
      }, taken ? icon('read') : null, action.label);
    }));
    const again = this.actions.children[focused];
    if (again) (again.disabled ? this.title : again).focus();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'r' || event.key === 'R') this.#handlers.toggleRead(this.item);
    else if (event.key === 'e' || event.key === 'E' || event.key === 'Delete') this.#handlers.archive(this.item);
    else return;
    event.preventDefault();
  }
}

/** Leaves the node alone when nothing changed: screen readers notice. @param {HTMLElement} node @param {string} text */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
