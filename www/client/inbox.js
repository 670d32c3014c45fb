/**
 * What a client knows of its inbox: a pure reducer. Nothing here does I/O or reads a clock, and no
 * state is ever changed: each function gives a new one.
 *
 * Promises: whoever applies all feed answers in order ends with the newest state, deletions included;
 * answers to own changes and pages of older items may come at any time and never undo something newer.
 */

/** How many items are kept; older ones are fetched again when somebody pages. */
export const ITEMS_MAX = 500;
/** How many deleted ids are remembered, against pages that were read before the deletion. */
export const DELETED_MAX = 200;

/**
 * @typedef {object} InboxAction
 * @property {string} id
 * @property {string} label
 * @property {string | null} url
 *
 * @typedef {object} InboxItem
 * @property {string} id
 * @property {string} type
 * @property {string} title
 * @property {string} body
 * @property {Record<string, unknown>} data
 * @property {{ id: string | null, name: string, avatarUrl: string | null } | null} sender
 * @property {string} category
 * @property {'low' | 'medium' | 'high' | 'urgent'} priority
 * @property {InboxAction[]} actions
 * @property {string | null} url
 * @property {string} createdAt
 * @property {string | null} expiresAt
 * @property {string | null} seenAt
 * @property {string | null} readAt
 * @property {string | null} archivedAt
 * @property {string | null} snoozedUntil
 * @property {string | null} action
 * @property {string | null} actedAt
 *
 * @typedef {{ type: 'delete-all' | 'read-all' | 'seen-all', rev: number }
 *   | { type: 'notification', rev: number, notification: InboxItem }
 *   | { type: 'deleted', rev: number, id: string }} FeedEvent
 *
 * @typedef {object} InboxFeed
 * @property {FeedEvent[]} events
 * @property {number} unreadCount
 * @property {number} unseenCount
 * @property {boolean} reset
 *
 * @typedef {object} InboxState
 * @property {boolean} known                 false until the first feed answer
 * @property {InboxItem[]} notifications     newest first; archived and snoozed ones too, see `visibleItems`
 * @property {number} unreadCount            as the server counts, over all pages
 * @property {number} unseenCount
 * @property {number} version                grows with every feed answer that changed something
 * @property {string[]} deleted              ids, newest first
 */

/** @returns {InboxState} */
export function emptyInbox() {
  return { known: false, notifications: [], unreadCount: 0, unseenCount: 0, version: 0, deleted: [] };
}

/**
 * Applies the inbox's part of a poll answer or stream update.
 * @param {InboxState} state
 * @param {InboxFeed} feed
 * @param {string} now  RFC 3339; what "read all" is dated with until the server's own date comes
 * @returns {InboxState}
 */
export function apply(state, feed, now) {
  const changed = feed.reset || feed.events.length > 0 || !state.known
    || feed.unreadCount !== state.unreadCount || feed.unseenCount !== state.unseenCount;
  if (!changed) return state;

  /** @type {Map<string, InboxItem>} */
  let items = new Map(feed.reset ? [] : state.notifications.map((item) => [item.id, item]));
  let deleted = feed.reset ? [] : state.deleted;
  // Marks first, whatever the order: they hold for what we had, the rows after them are newest.
  for (const event of feed.events) items = applyMark(items, event, now);
  for (const event of feed.events) {
    if (event.type === 'notification') items.set(event.notification.id, event.notification);
    if (event.type === 'deleted') {
      items.delete(event.id);
      deleted = [event.id, ...deleted];
    }
  }
  return {
    known: true,
    notifications: ordered(items),
    unreadCount: feed.unreadCount,
    unseenCount: feed.unseenCount,
    version: state.version + 1,
    deleted: deleted.slice(0, DELETED_MAX),
  };
}

/** @param {Map<string, InboxItem>} items @param {FeedEvent} event @param {string} now */
function applyMark(items, event, now) {
  if (event.type === 'delete-all') return new Map();
  if (event.type !== 'read-all' && event.type !== 'seen-all') return items;
  const read = event.type === 'read-all';
  return new Map([...items].map(([id, item]) => [id, {
    ...item,
    seenAt: item.seenAt ?? now,
    readAt: item.readAt ?? (read ? now : null),
  }]));
}

/** @param {Map<string, InboxItem>} items */
function ordered(items) {
  return [...items.values()].sort(newestFirst).slice(0, ITEMS_MAX);
}

/** @param {InboxItem} a @param {InboxItem} b */
function newestFirst(a, b) {
  const [left, right] = [a.createdAt + a.id, b.createdAt + b.id];
  return left < right ? 1 : left > right ? -1 : 0;
}

/**
 * @typedef {object} OwnChange   the answer to PATCH, DELETE, read-all, … with what was asked
 * @property {InboxItem} [notification]
 * @property {string} [removed]                        id that was deleted
 * @property {'delete-all' | 'read-all' | 'seen-all'} [mark]
 * @property {number} unreadCount
 * @property {number} unseenCount
 */

/**
 * Shows the answer to a change of our own before the feed brings it. When the feed moved on since the
 * request left (`sinceVersion`), the answer may be the older one and is left out: the feed has the
 * change too, or will.
 * @param {InboxState} state
 * @param {OwnChange} change
 * @param {number} sinceVersion  `state.version` when the request was sent
 * @param {string} now
 * @returns {InboxState}
 */
export function applyOwn(state, change, sinceVersion, now) {
  if (!state.known || state.version !== sinceVersion) return state;
  let items = new Map(state.notifications.map((item) => [item.id, item]));
  if (change.mark) items = applyMark(items, { type: change.mark, rev: 0 }, now);
  if (change.notification) items.set(change.notification.id, change.notification);
  if (change.removed) items.delete(change.removed);
  return {
    ...state,
    notifications: ordered(items),
    unreadCount: change.unreadCount,
    unseenCount: change.unseenCount,
    // A page that was asked for before a mark must not bring back what the mark changed.
    version: state.version + (change.mark ? 1 : 0),
    deleted: change.removed ? [change.removed, ...state.deleted].slice(0, DELETED_MAX) : state.deleted,
  };
}

/**
 * Adds a page of `GET /inbox`. What is held already stays: the feed is at least as new. After a change
 * in between the page is left out (`null`): ask again.
 * @param {InboxState} state
 * @param {InboxItem[]} page
 * @param {number} sinceVersion  `state.version` when the page was asked for
 * @returns {InboxState | null}
 */
export function mergePage(state, page, sinceVersion) {
  if (state.version !== sinceVersion) return null;
  const items = new Map(page.filter((item) => !state.deleted.includes(item.id)).map((item) => [item.id, item]));
  for (const item of state.notifications) items.set(item.id, item);
  return { ...state, notifications: ordered(items) };
}

/**
 * What to show now.
 * @param {InboxState} state
 * @param {{ now: string, unreadOnly?: boolean }} how
 * @returns {InboxItem[]}
 */
export function visibleItems(state, { now, unreadOnly = false }) {
  return state.notifications.filter((item) => !item.archivedAt
    && !(item.snoozedUntil && item.snoozedUntil > now)
    && !(item.expiresAt && item.expiresAt <= now)
    && !(unreadOnly && item.readAt));
}

/**
 * The unread notifications that a feed answer brought and that we did not know: worth announcing. Of a whole
 * state those that are newer than all we had: the first notification of a user comes as one, too.
 * @param {InboxState} before
 * @param {InboxFeed} feed
 * @returns {InboxItem[]}
 */
export function arrivals(before, feed) {
  if (!before.known) return [];
  const held = new Set(before.notifications.map((item) => item.id));
  const since = feed.reset ? before.notifications[0]?.createdAt ?? '' : '';
  const fresh = [];
  for (const event of feed.events) {
    if (event.type !== 'notification') continue;
    const item = event.notification;
    if (!held.has(item.id) && item.createdAt > since && !item.readAt && !item.archivedAt && !item.seenAt) fresh.push(item);
  }
  return fresh;
}
