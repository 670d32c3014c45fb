// Polls with nothing new, against an empty FastCGI answer through the same web server.
import { address, emptyAnswers, forEach, get, sendToAll, user, USERS } from './bench.mjs';

const CONNECTIONS = 32;
const SECONDS = 10;
const ROUNDS = 3;

export async function run(bench) {
  const stack = await bench.stack({
    webSettings: emptyAnswers(bench),
  });
  const tenant = await bench.tenant();
  await sendToAll(tenant, USERS, 'Hello');
  const polls = [];
  await forEach(USERS, 32, async (i) => {
    const token = tenant.token(user(i));
    const answer = await fetch(`${stack.url}/api/v1/poll`, { headers: { Authorization: `Bearer ${token}` } });
    const { cursor } = await answer.json();
    polls[i] = get(`/api/v1/poll?cursor=${cursor}`, { Authorization: `Bearer ${token}` });
  });
  const ratios = [];
  for (let round = 0; round < ROUNDS; round++) {
    const reference = await bench.load(address(stack), CONNECTIONS, SECONDS, [get('/empty')]);
    const polled = await bench.load(address(stack), CONNECTIONS, SECONDS, polls);
    bench.expect(reference, 200, 204);
    bench.expect(polled, 200);
    console.log(`  round ${round + 1}: ${reference.perSecond.toFixed(0)} empty answers/s (p99 ${reference.p99} ms), ${polled.perSecond.toFixed(0)} polls/s (p99 ${polled.p99} ms)`);
    ratios.push(polled.perSecond / reference.perSecond);
  }
  bench.figure('polls with nothing new / empty FastCGI answers', ratios.sort()[1], { least: 0.5 });
}
