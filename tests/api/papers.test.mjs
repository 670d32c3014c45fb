// README.md and HACKING.md say what is: settings, commands, targets and paths exist as they are written, and
// the tour works when it is pasted.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { makeDemo, makeEnvWriter } from '../../deploy/dev/demo.mjs';
import { startStack } from '../../deploy/dev/stack.mjs';
import { BUILD } from '../database.mjs';
import { startPostbox } from '../postbox/index.mjs';

const ROOT = new URL('../..', import.meta.url).pathname;
const PAPERS = ['README.md', 'HACKING.md'];
const FOLDERS = 'handlers|worker|scheduler|shared|sql|tests|deploy|www';
const read = (name) => readFileSync(join(ROOT, name), 'utf8');
const ctl = (...words) => execFileSync(join(BUILD, 'belfryctl'), words, { encoding: 'utf8' });
const between = (text, mark) => new RegExp(`<!-- ${mark} -->\\n([^]*?)<!-- /${mark} -->`).exec(text)?.[1];

// Each curl notes its status in a file of its own, and what the tour sleeps for is waited for.
const WATCHED = `
curl() { command curl -w '%{stderr}%{http_code}\\n' "$@" 2> "$(mktemp curl.XXXXXX)"; }
sleep() {
    until [ "$(psql -qXAt "$BELFRY_DB" -c 'select (select count(*) from belfry.ready) + (select count(*) from belfry.lease)
        + (select count(*) from belfry.scheduled) + (select count(*) from belfry.send_request where failure is null)')" = 0 ]; do
        command sleep 0.05
    done
}`;

/** What is set as code: blocks, indented lines, and `words`. */
function codeOf(text) {
  const blocks = [...text.matchAll(/^```\w*\n([^]*?)^```/gm)].map((m) => m[1]);
  const rest = text.replace(/^```\w*\n[^]*?^```/gm, '');
  return [...blocks.flatMap((block) => block.split('\n')), ...[...rest.matchAll(/^ {4}(\S.*)$/gm)].map((m) => m[1]),
    ...[...rest.matchAll(/`([^`]+)`/g)].map((m) => m[1].replace(/\s+/g, ' '))];
}

/** NAME and * stand for any name, NNNN for a number. */
function isThere(path) {
  if (!/[A-Z]{2,}|\*/.test(path) || existsSync(join(ROOT, path))) return existsSync(join(ROOT, path));
  const last = path.slice(dirname(path).length + 1);
  const pattern = new RegExp(`^${last.replaceAll('.', '\\.').replace(/\*|[A-Z]{2,}/g, '.+')}$`);
  return existsSync(join(ROOT, dirname(path))) && readdirSync(join(ROOT, dirname(path))).some((name) => pattern.test(name));
}

test('the table of settings in the README is that of the programs', () => {
  assert.equal(between(read('README.md'), 'settings'), ctl('--settings'));
});

for (const paper of PAPERS) {
  describe(paper, () => {
    test('every path that it names exists', () => {
      const links = [...read(paper).matchAll(/\]\(([^)#:]+)\)/g)].map((m) => m[1]);
      const named = codeOf(read(paper)).flatMap((code) => code.match(new RegExp(`(?<![\\w/.-])(?:${FOLDERS})/[\\w./*-]*`, 'g')) ?? []);
      const paths = [...new Set([...links, ...named])].map((path) => path.replace(/[./]+$/, ''));
      assert.ok(paths.length > 5, 'no paths were found');
      assert.deepEqual(paths.filter((path) => !isThere(path)), []);
    });

    test('every command of belfryctl that it names exists, with its options', () => {
      const commands = [...ctl('--help').matchAll(/^ {2}([a-z-]+(?: [a-z-]+)?) /gm)].map((m) => m[1]);
      const wrong = [];
      let count = 0;
      for (const [, line] of codeOf(read(paper)).flatMap((code) => [...code.matchAll(/\bbelfryctl ([^#|;`]+)/g)])) {
        if (/^--(help|version|settings)/.test(line)) continue;
        count += 1;
        const words = line.split(' ');
        const command = [words.slice(0, 2).join(' '), words[0]].find((name) => commands.includes(name.trim()))?.trim();
        const help = command ? ctl(...command.split(' '), '--help') : '';
        const unknown = (line.match(/--[a-z-]+/g) ?? []).filter((option) => !help.includes(`  ${option}`));
        if (!command || unknown.length > 0) wrong.push(line);
      }
      assert.deepEqual(wrong, []);
      assert.ok(count > 0 || paper !== 'README.md', 'no commands were found');
    });

    test('every target of make that it names exists', () => {
      const targets = [...execFileSync('make', ['--no-print-directory', '-C', ROOT, 'help'], { encoding: 'utf8' }).matchAll(/^ {2}([a-z-]+) /gm)].map((m) => m[1]);
      const named = codeOf(read(paper)).flatMap((code) => [.../(?:^|[\s=])make ((?:(?:[A-Z]+=(?:"[^"]*"|'[^']*'|\S*)|[a-z-]+) ?)+)/g[Symbol.matchAll](code)])
        .flatMap((m) => m[1].replace(/[A-Z]+=("[^"]*"|'[^']*'|\S*)/g, '').trim().split(/\s+/)).filter(Boolean);
      assert.ok(named.length > 2, 'no targets were found');
      assert.deepEqual([...new Set(named)].filter((name) => !targets.includes(name)), []);
    });
  });
}

describe('the tour of the README', () => {
  const dir = mkdtempSync(join(tmpdir(), 'belfry-tour-'));
  let postbox;
  let stack;

  before(async () => {
    postbox = await startPostbox();
    stack = await startStack({ postbox });
    makeEnvWriter(stack, await makeDemo(stack, postbox), postbox, {})();
    mkdirSync(join(dir, 'build'));
    symlinkSync(stack.dir, join(dir, 'build', 'run'));
    symlinkSync(join(BUILD, 'belfryctl'), join(dir, 'build', 'belfryctl'));
  });
  after(async () => {
    await stack?.stop();
    await postbox?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  test('is answered as it says, and everything that it sends arrives', async () => {
    const blocks = [...between(read('README.md'), 'tour').matchAll(/^```sh\n([^]*?)^```/gm)].map((m) => m[1]);
    const script = blocks.join('\n');
    const curls = (script.match(/\b(as_shop|as_ada|curl)\b(?!\(\))/g) ?? []).length - (script.match(/\(\) \{ curl/g) ?? []).length;
    writeFileSync(join(dir, 'tour.sh'), `${WATCHED}\n${script}`);
    const child = spawn('bash', ['tour.sh'], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, BUILD: undefined } });
    let output = '';
    let errors = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (errors += chunk));
    const [status] = await once(child, 'close');
    assert.equal(status, 0, `${output}${errors}`);
    assert.equal(errors, '', output);

    const notes = readdirSync(dir).filter((name) => name.startsWith('curl.')).map((name) => readFileSync(join(dir, name), 'utf8').trim());
    assert.equal(notes.length, curls, 'not every curl ran');
    const refusals = [...script.matchAll(/# (\d{3})$/gm)].map((m) => m[1]);
    assert.deepEqual(notes.filter((note) => !/^(curl: \(28\).*\n)?2\d\d$/.test(note)).sort(), refusals.sort(), output);

    for (const title of ['Your order has shipped', 'Order 18 has shipped', 'Somebody is at the door', 'Order 19 was placed']) {
      assert.ok(output.includes(title), title);
      for (const kind of ['email', 'push', 'webhook']) {
        await postbox.waitFor((m) => m.kind === kind && JSON.stringify(m).includes(title));
      }
    }
    const said = (text) => assert.ok(output.includes(text), `${text} is not in ${output}`);
    ['Idempotency-Replayed: true', '"status":"deduplicated"', '"status":"cancelled"', 'event: update', '"outcome":"sent"', 'opted out'].forEach(said);
  });
});
