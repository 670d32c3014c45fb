/**
 * Requests to Belfry's API with a user's token. Promises: every failure is a BelfryError; a token from
 * a function is asked for again once before it runs out and once more after a 401.
 */

import { retryAfterMs } from './pacing.js';

/** A token is renewed this long before it runs out: clocks differ. */
const TOKEN_LEEWAY_MS = 30_000;
/** For requests that do not wait. */
const TIMEOUT_MS = 20_000;

/** What went wrong with a request. `status` 0: there was no answer. */
export class BelfryError extends Error {
  /**
   * @param {string} message
   * @param {{ status?: number, type?: string, errors?: object[], retryAfterMs?: number | null, cause?: unknown }} [more]
   */
  constructor(message, { status = 0, type = '', errors = [], retryAfterMs: retry = null, cause } = {}) {
    super(message, { cause });
    this.name = 'BelfryError';
    this.status = status;
    /** The problem's type, `/problems/conflict` say. */
    this.type = type;
    this.errors = errors;
    this.retryAfterMs = retry;
  }

  /** Not Belfry's own answer: no connection, or a server in front of it that gave up or lost it. */
  get gateway() {
    return this.status === 0 || this.status === 408 || (this.status >= 500 && !this.type);
  }
}

/**
 * The claims of a JWT, unverified: only to know whose it is and until when.
 * @param {string} token
 * @returns {{ iss?: string, sub?: string, exp?: number }}
 */
export function tokenClaims(token) {
  try {
    const part = token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const bytes = Uint8Array.from(atob(part), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return {};
  }
}

export class Api {
  /** @type {string | (() => string | Promise<string>)} */
  #source;
  /** @type {Promise<string> | null} */
  #token = null;
  #expiresAtMs = Infinity;
  #fetch;

  /**
   * @param {{ url: string, token: string | (() => string | Promise<string>), fetch?: typeof fetch }} options
   */
  constructor({ url, token, fetch: fetchFunction }) {
    this.base = `${url.replace(/\/+$/, '')}/api/v1`;
    this.#source = token;
    this.#fetch = fetchFunction ?? ((...args) => globalThis.fetch(...args));
  }

  /** The token in use; asks for one when there is none or it is about to run out. @returns {Promise<string>} */
  token() {
    if (typeof this.#source === 'string') return Promise.resolve(this.#source);
    if (!this.#token || Date.now() > this.#expiresAtMs - TOKEN_LEEWAY_MS) this.#token = this.#askToken(this.#source);
    return this.#token;
  }

  /** @param {() => string | Promise<string>} ask */
  async #askToken(ask) {
    this.#expiresAtMs = Infinity;
    try {
      const token = await ask();
      const { exp } = tokenClaims(token);
      if (exp) this.#expiresAtMs = exp * 1000;
      return token;
    } catch (cause) {
      this.#token = null;
      throw new BelfryError('could not get a token', { cause });
    }
  }

  /** Forgets the token. @returns {boolean} whether another one can be had */
  forgetToken() {
    this.#token = null;
    return typeof this.#source !== 'string';
  }

  /**
   * One request and its JSON answer.
   * @param {string} method
   * @param {string} path  below /api/v1, parts encoded
   * @param {{ query?: Record<string, string | number | undefined>, body?: unknown, headers?: Record<string, string>,
   *   signal?: AbortSignal, timeoutMs?: number }} [options]
   * @returns {Promise<{ status: number, headers: Headers, body: any }>}  `body` null on 204 and 304
   * @throws {BelfryError}
   */
  async request(method, path, options = {}) {
    const limit = deadline(options.signal, options.timeoutMs ?? TIMEOUT_MS);
    try {
      const response = await this.open(method, path, { ...options, signal: limit.signal });
      const empty = response.status === 204 || response.status === 304;
      return { status: response.status, headers: response.headers, body: empty ? null : await response.json() };
    } catch (error) {
      throw asBelfryError(error);
    } finally {
      limit.clear();
    }
  }

  /**
   * One request; gives the response with its body unread.
   * @param {string} method
   * @param {string} path
   * @param {{ query?: Record<string, string | number | undefined>, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal }} [options]
   * @returns {Promise<Response>}
   * @throws {BelfryError} on a status of 400 and more too
   */
  async open(method, path, options = {}) {
    let response = await this.#send(method, path, options);
    if (response.status === 401 && this.forgetToken()) response = await this.#send(method, path, options);
    if (response.status >= 400) throw await errorOf(response);
    return response;
  }

  /** @param {string} method @param {string} path @param {{ query?: Record<string, string | number | undefined>, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal }} options */
  async #send(method, path, { query = {}, body, headers = {}, signal }) {
    const parts = Object.entries(query).filter(([, value]) => value !== undefined);
    const search = new URLSearchParams(parts.map(([name, value]) => [name, String(value)])).toString();
    const token = await this.token();
    try {
      return await this.#fetch(`${this.base}${path}${search && `?${search}`}`, {
        method,
        signal,
        cache: 'no-store',
        credentials: 'omit',
        // A click that reads a notification may leave the page at once.
        keepalive: method !== 'GET',
        headers: {
          Authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
          ...headers,
        },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch (error) {
      throw asBelfryError(error);
    }
  }
}

/** @param {unknown} error */
function asBelfryError(error) {
  return error instanceof BelfryError ? error : new BelfryError('could not reach the server', { cause: error });
}

/** @param {Response} response */
async function errorOf(response) {
  const problem = await response.json().catch(() => ({}));
  return new BelfryError(problem.detail ?? problem.title ?? `the server answered ${response.status}`, {
    status: response.status,
    type: problem.type,
    errors: problem.errors,
    retryAfterMs: retryAfterMs(response.headers.get('Retry-After'), Date.now()),
  });
}

/**
 * A signal that falls with another one or after a time; written out because AbortSignal.any is young.
 * @param {AbortSignal | undefined} outer
 * @param {number} ms
 */
function deadline(outer, ms) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  const timer = setTimeout(abort, ms);
  if (outer?.aborted) abort();
  outer?.addEventListener('abort', abort, { once: true });
  return {
    signal: controller.signal,
    clear() {
      clearTimeout(timer);
      outer?.removeEventListener('abort', abort);
    },
  };
}
