// Runs what `tests/run` built, and counts. Each part says what failed in its own words; the last line
// is `N passed, N failed` (`, N skipped`).
//
// A test is: a cmocka test, a fuzzer's corpus, a leaf of node's test runner. To add one, put a file
// where the others of its kind are: tests/unit/test_*.c, tests/fuzz/fuzz_*.c, or *.test.mjs in api,
// browser, channels, postbox or faults. Programs run from BUILD/check, with sanitizers.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { startStack } from '../deploy/dev/stack.mjs';

const ROOT = resolve(new URL('..', import.meta.url).pathname);
const words = process.argv.slice(2);
const CHECK = process.env.BUILD; // set by tests/run: the stacks take their programs from there too
const FILES_AT_ONCE = 2;
const UNIT_DEADLINE_MS = 120_000;
const FILE_DEADLINE_MS = 8 * 60_000;

process.env.TEST_OUTPUT = join(CHECK, 'tests-output');
process.env.ASAN_OPTIONS ??= 'detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=0';
process.env.UBSAN_OPTIONS ??= 'print_stacktrace=1:halt_on_error=1';

const count = { passed: 0, failed: 0, skipped: 0 };
const wanted = (name) => words.length === 0 || words.some((word) => name.includes(word));
const list = (dir, pattern) => (existsSync(dir) ? readdirSync(dir) : []).filter((name) => pattern.test(name)).sort();

function countCmocka(output) {
  const number = (label) => Number(new RegExp(`\\[  ${label}  \\] (\\d+) test`).exec(output)?.[1] ?? 0);
  return { passed: number('PASSED'), failed: number('FAILED'), skipped: number('SKIPPED') };
}

function runUnit(name, env) {
  const { stdout, stderr, status, signal } = spawnSync(join(CHECK, 'unit', name), {
    env: { ...process.env, ...env }, encoding: 'utf8', timeout: UNIT_DEADLINE_MS, maxBuffer: 64 * 1024 * 1024,
  });
  const output = `${stdout ?? ''}${stderr ?? ''}`;
  const found = countCmocka(output);
  if (status !== 0 && found.failed === 0) found.failed = 1; // a sanitizer's report, a crash, a hang
  for (const kind of Object.keys(count)) count[kind] += found[kind];
  console.log(`${found.failed ? '✖' : '✔'} unit/${name}: ${found.passed} passed, ${found.failed} failed`);
  if (found.failed) console.log(output.split('\n').filter((line) => !/\[ (RUN|      OK) /.test(line)).join('\n'), signal ?? '');
}

function runFuzzer(name) {
  const corpus = join(ROOT, 'tests/fuzz/corpus', name.replace('fuzz_', ''));
  const files = list(corpus, /./).map((file) => join(corpus, file));
  const { stdout, stderr, status } = spawnSync(join(CHECK, 'fuzz', name), files, { encoding: 'utf8', timeout: UNIT_DEADLINE_MS });
  count[status === 0 ? 'passed' : 'failed'] += 1;
  console.log(`${status === 0 ? '✔' : '✖'} fuzz/${name}`);
  if (status !== 0) console.log(stdout, stderr);
}

async function runUnits() {
  const names = list(join(ROOT, 'tests/unit'), /^test_.*\.c$/).map((name) => name.replace('.c', '')).filter((name) => wanted(`unit/${name}`));
  if (names.length === 0) return;
  const stack = await startStack();
  try {
    await stack.stopService('worker');
    await stack.stopService('scheduler');
    const env = { BELFRY_TEST_DB: stack.conninfo(), BELFRY_TEST_REDIS: stack.service('redis').programAddress };
    for (const name of names) runUnit(name, env);
  } finally {
    await stack.stop();
  }
}

/** Files that start stacks, two at a time; those of faults/ alone, for they measure nothing but kill a lot. */
function runFiles(files, concurrency) {
  return new Promise((done) => {
    const stream = run({ files, concurrency, timeout: FILE_DEADLINE_MS });
    const isTest = (event) => event.details?.type !== 'suite' && !files.includes(event.name);
    stream.on('test:pass', (event) => {
      if (isTest(event)) count[event.skip !== undefined || event.todo !== undefined ? 'skipped' : 'passed'] += 1;
    });
    stream.on('test:fail', (event) => {
      if (event.details?.type !== 'suite') count.failed += 1;
    });
    stream.compose(new spec()).pipe(process.stdout, { end: false });
    stream.on('end', done);
  });
}

const find = (dir) => list(join(ROOT, 'tests', dir), /\.test\.mjs$/).map((name) => join(ROOT, 'tests', dir, name)).filter((file) => wanted(file.slice(ROOT.length)));

rmSync(process.env.TEST_OUTPUT, { recursive: true, force: true });
mkdirSync(process.env.TEST_OUTPUT, { recursive: true });
await runUnits();
for (const name of list(join(ROOT, 'tests/fuzz'), /^fuzz_.*\.c$/).map((n) => n.replace('.c', '')).filter((n) => wanted(`fuzz/${n}`))) runFuzzer(name);
const together = [...find('api'), ...find('browser'), ...find('channels'), ...find('postbox')];
if (together.length > 0) await runFiles(together, FILES_AT_ONCE);
const alone = [...find('faults'), ...find('last')];
if (alone.length > 0) await runFiles(alone, 1);

console.log(`${count.passed} passed, ${count.failed} failed${count.skipped ? `, ${count.skipped} skipped` : ''}`);
process.exit(count.failed === 0 && count.passed > 0 ? 0 : 1);
