// Failures on order: what the next requests of a kind get instead of the truth.
//
// A fault is {kind: "email"|"push"|"webhook", next: N, and what happens:
//   status, retryAfter (seconds, or a date as text), headers, body   answer of an HTTP provider
//   smtp: {stage: "connect"|"auth"|"mail"|"rcpt"|"data"|"end", code, text}   answer of the mail server
//   delayMs   wait before the answer (alone: only slower)
//   reset     true: cut the connection instead of answering, "before": before reading the body
//   match     only requests whose address (subscription id, webhook name, e-mail address) has this in it}
// Faults of a kind are used in the order in which they came; each counts down its `next`.
// An answer that was scripted is still kept in the mailbox, with `problem` "fault: ..." when the
// sender cannot have taken it for a success.

const KINDS = ['email', 'push', 'webhook'];
const STAGES = ['connect', 'auth', 'mail', 'rcpt', 'data', 'end'];
const FIELDS = ['kind', 'next', 'status', 'retryAfter', 'headers', 'body', 'smtp', 'delayMs', 'reset', 'match'];

export class Faults {
  #faults = [];

  /** Checks and takes an order; throws an Error that says what is wrong with it. */
  add(order) {
    const unknown = Object.keys(order).filter((name) => !FIELDS.includes(name));
    if (unknown.length > 0) throw new Error(`unknown field ${unknown.join(', ')}`);
    if (!KINDS.includes(order.kind)) throw new Error(`kind must be one of ${KINDS.join(', ')}`);
    const fault = { next: 1, ...order };
    if (!Number.isInteger(fault.next) || fault.next < 1) throw new Error('next must be a whole number above 0');
    if (fault.smtp && !STAGES.includes(fault.smtp.stage)) throw new Error(`smtp.stage must be one of ${STAGES.join(', ')}`);
    this.#faults.push(fault);
    return fault;
  }

  /** The fault that this request gets, counted down, or null. Stage is for e-mail. */
  take(kind, address, stage = 'end') {
    const index = this.#faults.findIndex((fault) =>
      fault.kind === kind &&
      (kind !== 'email' || (fault.smtp?.stage ?? 'end') === stage) &&
      (fault.match === undefined || address.includes(fault.match)));
    if (index < 0) return null;
    const fault = this.#faults[index];
    if (--fault.next === 0) this.#faults.splice(index, 1);
    return fault;
  }

  list() {
    return this.#faults;
  }

  clear() {
    this.#faults = [];
  }
}

/** What the mailbox says of a message that met this fault; null if the sender saw a success. */
export function faultProblem(fault) {
  if (fault?.reset) return 'fault: connection cut';
  if (fault?.smtp) return `fault: SMTP ${fault.smtp.code} at ${fault.smtp.stage}`;
  if (fault?.status >= 300) return `fault: status ${fault.status}`;
  return null;
}

export const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms ?? 0));
