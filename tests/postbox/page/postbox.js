// Shows what arrived, newest first, and waits for more. Everything is set as text, never as markup.
const SHOWN_MAX = 200;
const list = document.querySelector('#messages');
const status = document.querySelector('#status');
const empty = document.querySelector('#empty');
let since = 0;

const element = (name, className, text) => {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
};

const describe = {
  email: (m) => ({ title: m.subject, to: `${m.to.join(', ')} · from ${m.from} · TLS ${m.tls}`, body: m.text }),
  push: (m) => ({ title: m.payload?.title ?? m.text, to: `subscription ${m.subscription} · urgency ${m.urgency} · TTL ${m.ttl}`, body: m.text }),
  webhook: (m) => ({ title: m.payload?.data?.title ?? m.payload?.type, to: `${m.name} · ${m.id}`, body: m.text }),
};

function row(message) {
  const { title, to, body } = describe[message.kind](message);
  const item = element('li', message.kind, '');
  item.append(element('span', 'kind', message.kind), element('span', 'title', title ?? '(no title)'));
  item.append(element('div', 'meta', `#${message.n} · ${new Date(message.at).toLocaleTimeString()} · ${to}${message.repeat ? ' · repeated' : ''}`));
  if (message.problem) item.append(element('div', 'problem', message.problem));
  const details = document.createElement('details');
  details.append(element('summary', '', 'Content'), element('pre', '', pretty(body)));
  item.append(details);
  return item;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text ?? '';
  }
}

async function refresh(wait) {
  const response = await fetch(`/messages?since=${since}&wait=${wait}`, { headers: { Accept: 'application/json' } });
  const { messages, counts } = await response.json();
  for (const message of messages.slice(-SHOWN_MAX)) list.prepend(row(message));
  while (list.children.length > SHOWN_MAX) list.lastElementChild.remove();
  since = messages.at(-1)?.n ?? since;
  empty.hidden = list.children.length > 0;
  status.textContent = `${counts.email} e-mails, ${counts.push} pushes, ${counts.webhook} webhooks`;
}

document.querySelector('#clear').addEventListener('click', async () => {
  await fetch('/messages', { method: 'DELETE' });
  list.replaceChildren();
  await refresh(0);
});

for (let wait = 0; ; wait = 25) {
  try {
    await refresh(wait);
  } catch {
    status.textContent = 'The postbox does not answer.';
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}
