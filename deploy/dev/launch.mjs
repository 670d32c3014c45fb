// Ways to start a program so that it lives exactly as long as it should.
//
// Every program runs in its own session (a Ctrl-C at the terminal reaches only us, so that we can
// stop things in order), is ended by the kernel if we die (setpriv --pdeathsig), may open as many
// files as the system allows, and writes its output to a log file.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, closeSync, existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import readline from 'node:readline';

const OPEN_FILES_MAX = 65_536;
const LISTEN = new URL('listen', import.meta.url).pathname;

/** The words to put before a command: limits, death signal, and another user if `as` is given. */
export function prefix({ deathSignal = 'TERM', as = null } = {}) {
  const limit = `n=$(ulimit -Hn); [ "$n" != unlimited ] && [ "$n" -le ${OPEN_FILES_MAX} ] || n=${OPEN_FILES_MAX}; ulimit -n "$n"; exec "$@"`;
  return ['/bin/sh', '-c', limit, 'sh', 'setpriv', ...(as?.options ?? []), '--pdeathsig', deathSignal, '--'];
}

/**
 * PostgreSQL, PgBouncer and Apache's children refuse to be root. For root: the ids of a user to
 * run them as, and setpriv's options for it; null for everybody else. If that user may not walk to
 * `paths` (a checkout below /root), or has to read our files, it gets the one capability for that.
 */
export function unprivileged(userNames, paths = [], { readsOurs = false } = {}) {
  if (process.getuid() !== 0) return null;
  const users = readFileSync('/etc/passwd', 'utf8').split('\n').map((line) => line.split(':'));
  const user = userNames.map((name) => users.find((fields) => fields[0] === name)).find(Boolean);
  if (!user) throw new Error(`none of the users ${userNames.join(', ')} exists, and this must not run as root`);
  const [name, , uid, gid] = user;
  const options = ['--reuid', uid, '--regid', gid, '--clear-groups'];
  if (readsOurs || !paths.every(isReachable)) {
    const capability = `+${readingCapability()}`;
    options.push('--inh-caps', capability, '--ambient-caps', capability);
  }
  return { name, uid: Number(uid), gid: Number(gid), options };
}

/** Whether any user may walk to this path. */
export function isReachable(path) {
  for (let at = dirname(resolve(path)); ; at = dirname(at)) {
    if (existsSync(at) && (statSync(at).mode & 0o001) === 0) return false;
    if (at === '/') return true;
  }
}

// Containers often keep dac_override and drop dac_read_search.
function readingCapability() {
  const bounding = BigInt(`0x${/CapBnd:\s*([0-9a-f]+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]}`);
  return (bounding & 4n) !== 0n ? 'dac_read_search' : 'dac_override';
}

/** Starts programs directly. launch(onExit) resolves with the pid. */
export function directLauncher({ command, env, cwd, logFile, deathSignal, as }) {
  return async (onExit) => {
    const log = openSync(logFile, 'a');
    const [program, ...words] = [...prefix({ deathSignal, as }), ...command];
    const child = spawn(program, words, { cwd, env, detached: true, stdio: ['ignore', log, log] });
    closeSync(log);
    child.once('exit', (code, signal) => {
      endGroup(child.pid);
      onExit(signal ?? code);
    });
    await once(child, 'spawn');
    return child.pid;
  };
}

// Children of a killed Apache would live on with its port.
function endGroup(pid) {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // nobody is left in its group
  }
}

/**
 * A held unix socket and the launchers of programs that inherit it: {launcher(name), close()}.
 * If the holder itself dies, the next launch makes a new one.
 */
export function holdSocket({ socket, command, env, cwd, logFile }) {
  let holder = null;
  const starting = new Map(); // name → {resolve, reject, onExit}
  const running = new Map(); // pid → onExit

  const onLine = (line) => {
    const [what, name, pid, status] = line.split(' ');
    if (what === 'started') {
      running.set(pid, starting.get(name).onExit);
      starting.get(name).resolve(Number(pid));
      starting.delete(name);
    } else if (what === 'exited') {
      const onExit = running.get(pid);
      running.delete(pid);
      onExit(status & 127 ? `signal ${status & 127}` : status >> 8);
    }
  };
  const onHolderExit = () => {
    holder = null;
    for (const { reject } of starting.values()) reject(new Error('the socket holder died'));
    for (const onExit of running.values()) onExit('the socket holder died');
    starting.clear();
    running.clear();
  };
  const open = async () => {
    const log = openSync(logFile, 'a');
    const [program, ...words] = [...prefix(), LISTEN, socket, ...prefix(), ...command];
    const child = spawn(program, words, { cwd, env, detached: true, stdio: ['pipe', 'pipe', log] });
    closeSync(log);
    readline.createInterface({ input: child.stdout }).on('line', onLine);
    child.stdin.on('error', () => {}); // its exit tells
    child.once('exit', onHolderExit);
    await once(child, 'spawn');
    holder = child;
  };

  return {
    launcher: (name) => async (onExit) => {
      if (holder === null) await open();
      return new Promise((resolve, reject) => {
        starting.set(name, { resolve, reject, onExit });
        holder.stdin.write(`start ${name}\n`);
      });
    },
    async close() {
      if (holder === null) return;
      const gone = once(holder, 'exit');
      holder.stdin.end();
      await gone;
    },
  };
}
