// A postbox in another process, with the same methods as startPostbox() gives, all of them async.
//
//   const postbox = postboxClient(JSON.parse(readFileSync('build/run/postbox/postbox.json')));
//   const postbox = postboxClient({ url: process.env.BELFRY_POSTBOX_URL });

/** info: what `postbox.json` or GET /info says; at least its url. */
export function postboxClient(info) {
  const call = async (method, path, body) => {
    const response = await fetch(`${info.url}${path}`, {
      method, headers: { Accept: 'application/json' }, body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`postbox: ${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  };
  const messages = async ({ kind, since = 0, wait = 0 } = {}) => {
    const query = new URLSearchParams({ since, wait, ...(kind ? { kind } : {}) });
    return (await call('GET', `/?${query}`)).messages;
  };
  return {
    ...info,
    messages,
    clear: () => call('DELETE', '/messages'),
    fault: (fault) => call('POST', '/faults', fault),
    clearFaults: () => call('DELETE', '/faults'),
    subscribe: (options = {}) => call('POST', '/push/subscriptions', options),
    expire: (id) => call('DELETE', `/push/subscriptions/${id}`),
    setWebhookSecrets: (name, secrets) => call('PUT', `/webhooks/${encodeURIComponent(name)}/secrets`, { secrets }),
    async waitFor(predicate, { timeoutMs = 15_000, since = 0 } = {}) {
      const end = Date.now() + timeoutMs;
      for (let seen = since; Date.now() < end;) {
        const arrived = await messages({ since: seen, wait: Math.max(1, Math.min(5, (end - Date.now()) / 1000)) });
        const found = arrived.find(predicate);
        if (found) return found;
        seen = arrived.at(-1)?.n ?? seen;
      }
      throw new Error(`no such message arrived within ${timeoutMs} ms`);
    },
  };
}
