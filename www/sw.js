/**
 * Service worker for Belfry's Web Push: shows what a push message says, and on a click brings up the
 * page that it leads to. It caches nothing and touches no request.
 *
 * The payload is `{"id","title","body","url","type","data","actions":[{"id","label"}],"tag"}`.
 * Copy this file to the folder whose pages should be found and focused (a worker's scope), or import it
 * from your own worker with `importScripts`.
 *
 * A click reaches the page's BelfryClient as `{kind: 'belfry-click', id, action}`: the worker has no
 * token, so it is the page that marks the notification as read or takes the action.
 */

/** Clicks that wait for a page to load. @type {Map<string, {id: string, action: string | null}>} */
const waiting = new Map();
/** How long a page has to load before its click is dropped. */
const PAGE_LOAD_MS = 20_000;

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('push', (event) => event.waitUntil(show(read(event.data))));
self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data ?? {}, event.action || null));
});
self.addEventListener('message', (event) => {
  if (event.data?.kind === 'belfry-ready') handOver(event.source);
});

/** A push without a message that we can read still has to show something: browsers insist. */
function read(data) {
  try {
    const payload = data.json();
    if (payload && typeof payload === 'object') return payload;
  } catch {
    // shown as below
  }
  return { title: 'New notification' };
}

function show({ id, title, body, url, type, data, actions, tag }) {
  return self.registration.showNotification(String(title ?? ''), {
    body: body ? String(body) : undefined,
    tag: tag ?? id,
    // The same tag again is an update of what is shown, but one worth a sound.
    renotify: Boolean(tag ?? id),
    icon: '/favicon.svg',
    data: { id, url, type, data },
    actions: (Array.isArray(actions) ? actions : []).slice(0, 2).map((one) => ({ action: String(one.id), title: String(one.label) })),
  });
}

/** Brings up a window with the address: the one that shows it already, else one of ours, else a new one. */
async function open({ id, url }, action) {
  const target = safeUrl(url);
  const ours = new URL(target).origin === self.location.origin;
  const click = { kind: 'belfry-click', id, action };
  const windows = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
  const there = windows.find((one) => one.url === target);
  // Any page of ours can tell Belfry, even one that is about to leave.
  (there ?? windows[0])?.postMessage(click);

  if (there) await there.focus();
  else if (ours && windows.length) await bring(windows[0], target);
  else await self.clients.openWindow(target);
  if (ours && !windows.length) await pageReady(click);
}

async function bring(page, target) {
  try {
    await (await page.focus()).navigate(target);
  } catch {
    await self.clients.openWindow(target); // a page that this worker does not control
  }
}

/** Keeps the click, and this worker alive, until a page says that it is ready. */
function pageReady(click) {
  return new Promise((resolve) => {
    const key = `${click.id} ${click.action}`;
    const done = () => {
      waiting.delete(key);
      resolve();
    };
    waiting.set(key, { ...click, done });
    setTimeout(done, PAGE_LOAD_MS);
  });
}

function handOver(page) {
  for (const { done, ...click } of waiting.values()) {
    page.postMessage(click);
    done();
  }
}

/** Only http and https; our own page where there is none. */
function safeUrl(url) {
  try {
    const parsed = new URL(url || '/', self.location.href);
    if (parsed.protocol === 'https:' || parsed.protocol === 'http:') return parsed.href;
  } catch {
    // not an address
  }
  return new URL('/', self.location.href).href;
}
