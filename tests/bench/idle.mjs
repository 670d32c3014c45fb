// Private memory of the three programs when nothing happens.
import { privateKb } from './bench.mjs';

export async function run(bench) {
  const stack = await bench.stack();
  const pids = stack.pids();
  for (const name of ['api', 'worker', 'scheduler']) {
    bench.figure(`private memory of ${name}, idle`, privateKb(pids[name]) / 1024, { most: 6, unit: ' MB' });
  }
}
