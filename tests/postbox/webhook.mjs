// A receiver of signed webhooks (Standard Webhooks 1.0.0). An address is /webhooks/NAME; its secrets
// are told beforehand, several during a rotation. A request without a valid signature of one of them
// is answered 401 and kept with its `problem`.
import { Webhook } from 'standardwebhooks';
import { delay, faultProblem } from './faults.mjs';
import { faultAnswer } from './push.mjs';

export class WebhookReceiver {
  constructor({ mailbox, faults, state }) {
    this.mailbox = mailbox;
    this.faults = faults;
    this.state = state;
  }

  /** Replaces the secrets ("whsec_...") of an address; throws if one is malformed. */
  setSecrets(name, secrets) {
    if (!Array.isArray(secrets) || secrets.length === 0) throw new Error('secrets must be a list');
    for (const secret of secrets) new Webhook(secret);
    this.state.data.webhooks[name] = secrets;
    this.state.save();
  }

  /** Answers one POST to /webhooks/NAME: {status, headers, body, reset}. */
  async receive(name, request, body) {
    const fault = this.faults.take('webhook', name);
    const text = body.toString('utf8');
    const id = request.headers['webhook-id'] ?? null;
    const wrong = this.#check(name, request.headers, text);
    this.mailbox.add({
      kind: 'webhook',
      name,
      id,
      timestamp: Number(request.headers['webhook-timestamp'] ?? NaN) || null,
      contentType: request.headers['content-type'] ?? null,
      userAgent: request.headers['user-agent'] ?? null,
      text,
      payload: parseJson(text),
      problem: wrong ?? faultProblem(fault),
    }, id);
    await delay(fault?.delayMs);
    if (fault?.reset) return { reset: true };
    if (fault?.status) return faultAnswer(fault);
    if (wrong !== null) return { status: 401, body: { error: wrong } };
    return { status: 204 };
  }

  #check(name, headers, text) {
    const secrets = this.state.data.webhooks[name];
    if (!secrets) return 'no secret is known for this address';
    let last;
    for (const secret of secrets) {
      try {
        new Webhook(secret).verify(text, headers);
        return parseJson(text) === null ? 'body is not JSON' : null;
      } catch (error) {
        last = error.message;
      }
    }
    return `signature: ${last}`;
  }
}

function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
