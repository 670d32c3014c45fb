// A Web Push service (RFC 8030) that also plays the browser: it makes subscriptions, keeps their
// private keys, and decrypts what arrives (RFC 8291, RFC 8188), after checking the sender's VAPID
// token (RFC 8292). Strict where the public services are: a wrong message is refused and kept with
// its `problem`.
import { createECDH, randomBytes } from 'node:crypto';
import ece from 'http_ece';
import { importJWK, jwtVerify } from 'jose';
import { delay, faultProblem } from './faults.mjs';

const BODY_BYTES_MAX = 4096; // RFC 8030 section 7.2: at least this must be taken
const VAPID_SECONDS_MAX = 24 * 3600; // RFC 8292 section 2
const TTL_SECONDS_MAX = 4 * 7 * 24 * 3600;
const URGENCIES = ['very-low', 'low', 'normal', 'high'];

export class PushService {
  #bases = {};

  constructor({ mailbox, faults, state }) {
    this.mailbox = mailbox;
    this.faults = faults;
    this.state = state;
  }

  setBases(http, https) {
    this.#bases = { http, https };
  }

  /**
   * A new subscription as a browser hands it out: {id, endpoint, expirationTime, keys}.
   * secure: false gives an endpoint of the clear-text listener; applicationServerKey binds it to
   * one VAPID key.
   */
  subscribe({ secure = true, applicationServerKey = null } = {}) {
    const ecdh = createECDH('prime256v1');
    ecdh.generateKeys();
    const id = randomBytes(16).toString('base64url');
    const kept = {
      privateKey: ecdh.getPrivateKey('base64url'),
      auth: randomBytes(16).toString('base64url'),
      applicationServerKey,
      expired: false,
    };
    this.state.data.subscriptions[id] = kept;
    this.state.save();
    return {
      id,
      endpoint: `${secure ? this.#bases.https : this.#bases.http}/push/${id}`,
      expirationTime: null,
      keys: { p256dh: ecdh.getPublicKey('base64url'), auth: kept.auth },
    };
  }

  /** From now on the endpoint answers 410. False if there is no such subscription. */
  expire(id) {
    const kept = this.state.data.subscriptions[id];
    if (!kept) return false;
    kept.expired = true;
    this.state.save();
    return true;
  }

  /** Answers one POST to an endpoint: {status, headers, body, reset}. */
  async receive(id, request, body) {
    const fault = this.faults.take('push', id);
    const message = { kind: 'push', subscription: id, ...headerFields(request.headers) };
    const refusal = await this.#check(id, request, body, message);
    const problem = refusal?.problem ?? faultProblem(fault);
    const kept = this.mailbox.add({ ...message, problem, bytes: body.length }, `${id} ${message.topic} ${message.text}`);
    await delay(fault?.delayMs);
    if (fault?.reset) return { reset: true };
    if (fault?.status) return faultAnswer(fault);
    if (refusal) return { status: refusal.status, body: { reason: refusal.problem } };
    const ttl = Math.min(Number(request.headers.ttl), TTL_SECONDS_MAX);
    return { status: 201, headers: { Location: `/push/messages/${kept.n}`, TTL: String(ttl) } };
  }

  // Fills in what can be read; returns {status, problem} for what must be refused, else null.
  async #check(id, request, body, message) {
    const kept = this.state.data.subscriptions[id];
    if (!kept) return { status: 404, problem: 'no such subscription' };
    if (kept.expired) return { status: 410, problem: 'subscription expired' };
    const bad = checkHeaders(request, body);
    if (bad) return bad;
    const denied = await checkVapid(request, kept, message);
    if (denied) return denied;
    if (body.length === 0) return null;
    try {
      readPayload(kept, body, message);
      return null;
    } catch (error) {
      return { status: 400, problem: `cannot decrypt: ${error.message}` };
    }
  }
}

function headerFields(headers) {
  return {
    ttl: headers.ttl === undefined ? null : Number(headers.ttl),
    urgency: headers.urgency ?? null,
    topic: headers.topic ?? null,
    contentType: headers['content-type'] ?? null,
    vapid: null,
    text: null,
    payload: null,
  };
}

function checkHeaders({ headers, rawHeaders }, body) {
  const refuse = (problem, status = 400) => ({ status, problem });
  const names = rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());
  for (const name of ['ttl', 'urgency', 'topic', 'authorization', 'content-encoding']) {
    if (names.filter((other) => other === name).length > 1) return refuse(`two ${name} headers`);
  }
  if (!/^[0-9]+$/.test(headers.ttl ?? '')) return refuse('TTL missing or not a number');
  if (headers.urgency !== undefined && !URGENCIES.includes(headers.urgency)) return refuse('unknown Urgency');
  if (headers.topic !== undefined && !/^[A-Za-z0-9_-]{1,32}$/.test(headers.topic)) return refuse('bad Topic');
  if (body.length > BODY_BYTES_MAX) return refuse('body too large', 413);
  if (body.length > 0 && headers['content-encoding'] !== 'aes128gcm') return refuse('Content-Encoding is not aes128gcm');
  if (body.length > 0 && headers['content-type'] !== 'application/octet-stream') return refuse('wrong Content-Type');
  return null;
}

async function checkVapid(request, kept, message) {
  const refuse = (problem, status = 403) => ({ status, problem });
  const header = request.headers.authorization;
  if (header === undefined) return refuse('Authorization missing', 401);
  const parts = /^vapid\s+(.*)$/i.exec(header);
  if (!parts) return refuse('Authorization is not vapid', 401);
  const values = Object.fromEntries(parts[1].split(',').map((part) => part.trim().split(/=(.*)/s).slice(0, 2)));
  if (!values.t || !values.k) return refuse('vapid without t or k', 401);
  const point = Buffer.from(values.k, 'base64url');
  if (point.length !== 65 || point[0] !== 4) return refuse('vapid key is no P-256 point');
  try {
    const key = await importJWK({
      kty: 'EC', crv: 'P-256',
      x: point.subarray(1, 33).toString('base64url'), y: point.subarray(33).toString('base64url'),
    }, 'ES256');
    const { payload } = await jwtVerify(values.t, key, {
      algorithms: ['ES256'], audience: request.origin, requiredClaims: ['exp', 'aud'],
    });
    message.vapid = { key: values.k, ...payload };
    if (payload.exp > Date.now() / 1000 + VAPID_SECONDS_MAX) return refuse('vapid token lives longer than a day');
    if (!/^(mailto:.+@.+|https:\/\/.+)$/.test(payload.sub ?? '')) return refuse('vapid sub missing or malformed');
  } catch (error) {
    return refuse(`vapid: ${error.message}`);
  }
  if (kept.applicationServerKey !== null && kept.applicationServerKey !== values.k) {
    return refuse('vapid key is not the subscription\'s');
  }
  return null;
}

function readPayload(kept, body, message) {
  const ecdh = createECDH('prime256v1');
  ecdh.setPrivateKey(kept.privateKey, 'base64url');
  const plain = ece.decrypt(body, { version: 'aes128gcm', privateKey: ecdh, authSecret: kept.auth });
  message.text = plain.toString('utf8');
  try {
    message.payload = JSON.parse(message.text);
  } catch {
    message.payload = null; // a push message need not be JSON
  }
}

/** The HTTP answer that a fault asks for; also used by the webhook receiver. */
export function faultAnswer(fault) {
  const headers = { ...fault.headers };
  if (fault.retryAfter !== undefined) headers['Retry-After'] = String(fault.retryAfter);
  return { status: fault.status, headers, body: fault.body };
}
