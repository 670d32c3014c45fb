/**
 * Web Push for this browser: service worker, permission, subscription, and telling Belfry.
 */

import { BelfryError } from './http.js';

/** Whether this browser can. */
export function pushSupported() {
  return typeof navigator !== 'undefined' && 'serviceWorker' in navigator && 'PushManager' in globalThis && 'Notification' in globalThis;
}

/**
 * Subscribes; call it from a click, since browsers ask for the permission then. May be called again at
 * any time: the same subscription keeps its id.
 * @param {import('./http.js').Api} api
 * @param {string} workerUrl
 * @returns {Promise<{ id: string }>}
 * @throws {BelfryError} when the browser cannot or the user did not allow it
 */
export async function enablePush(api, workerUrl) {
  if (!pushSupported()) throw new BelfryError('this browser has no Web Push');
  if ((await Notification.requestPermission()) !== 'granted') throw new BelfryError('notifications are not allowed for this site');
  await navigator.serviceWorker.register(trusted(workerUrl));
  const registration = await navigator.serviceWorker.ready;
  const { body } = await api.request('GET', '/push/key');
  const subscription = await subscribe(registration, keyBytes(body.publicKey));
  return tellBelfry(api, subscription);
}

/**
 * Takes this browser's subscription back.
 * @param {import('./http.js').Api} api
 * @returns {Promise<boolean>} whether there was one
 */
export async function disablePush(api) {
  if (!pushSupported()) return false;
  const registration = await navigator.serviceWorker.getRegistration();
  const subscription = await registration?.pushManager.getSubscription();
  if (!subscription) return false;
  // Belfry knows it by an id, which it tells again for the same endpoint.
  const { id } = await tellBelfry(api, subscription);
  await api.request('DELETE', `/push-subscriptions/${encodeURIComponent(id)}`);
  await subscription.unsubscribe();
  return true;
}

/** @type {{ createScriptURL(url: string): any } | undefined} */
let policy;

/** Where a page's policy asks for trusted types, the address is one: the page's own code chose it. @param {string} url */
function trusted(url) {
  policy ??= /** @type {any} */ (globalThis).trustedTypes?.createPolicy('belfry', { createScriptURL: (/** @type {string} */ text) => text });
  return policy ? policy.createScriptURL(url) : url;
}

/** @param {ServiceWorkerRegistration} registration @param {Uint8Array<ArrayBuffer>} key */
async function subscribe(registration, key) {
  const held = await registration.pushManager.getSubscription();
  if (held && sameBytes(held.options.applicationServerKey, key)) return held;
  await held?.unsubscribe(); // made with an older key: the push service would refuse us
  try {
    return await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  } catch (cause) {
    throw new BelfryError('could not subscribe at the push service of this browser', { cause });
  }
}

/** @param {import('./http.js').Api} api @param {PushSubscription} subscription */
async function tellBelfry(api, subscription) {
  const { endpoint, expirationTime, keys } = subscription.toJSON();
  const { body } = await api.request('POST', '/push-subscriptions', {
    body: { endpoint, expirationTime: expirationTime ?? null, keys: { p256dh: keys?.p256dh, auth: keys?.auth } },
  });
  return { id: body.id };
}

/** @param {string} base64url @returns {Uint8Array<ArrayBuffer>} */
function keyBytes(base64url) {
  const text = atob(base64url.replace(/-/g, '+').replace(/_/g, '/'));
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

/** @param {ArrayBuffer | null} buffer @param {Uint8Array} bytes */
function sameBytes(buffer, bytes) {
  if (!buffer || buffer.byteLength !== bytes.length) return false;
  return new Uint8Array(buffer).every((byte, i) => byte === bytes[i]);
}
