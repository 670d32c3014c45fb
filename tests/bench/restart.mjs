// The handlers are replaced, twice, while 8,000 polls are parked and sends go on: no 5xx, nothing lost, nothing repeated.
import { setTimeout as pause } from 'node:timers/promises';
import { expectWhole, parkWaiters } from './waiting.mjs';

const WAITERS = 8000;
const RATE = 200;
const SECONDS = 15;

export async function run(bench) {
  const { stack, ask } = await parkWaiters(bench, WAITERS);
  const sending = ask(`run ${RATE} ${SECONDS}`);
  for (let i = 0; i < 2; i++) {
    await pause(4000); // into the sends, not beside them
    await stack.replace('api');
  }
  const result = await sending;
  expectWhole(bench, result);
  console.log(`  ${result.sent} sends over two restarts; wake p50 ${result.wakeP50} ms, p99 ${result.wakeP99} ms, max ${result.wakeMax} ms`);
  bench.figure('5xx, lost or repeated in two restarts with 8,000 parked and 200 sends a second', result.errors + result.lost + result.repeated, { most: 0, digits: 0 });
}
