// What the postbox keeps on disk: its certificate, the subscriptions' private keys and the webhook
// secrets, so that a restarted postbox still reads what is addressed to its former self.
//
// In a directory: ca.pem (give it to whoever connects), server.pem, server.key, state.json, and
// postbox.json with the addresses of the running postbox. Files are replaced whole.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const DAYS = '365';

/** Opens (or makes) the directory; without a name a temporary one that close() removes. */
export function openState(dir = null) {
  const temporary = dir === null;
  const home = temporary ? mkdtempSync(join(tmpdir(), 'belfry-postbox-')) : dir;
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const file = join(home, 'state.json');
  const kept = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  const data = { subscriptions: {}, webhooks: {}, ...kept };

  return {
    caFile: join(home, 'ca.pem'),
    data,
    save: () => replaceFile(file, JSON.stringify(data)),
    certificate: () => loadCertificate(home),
    publish: (info) => replaceFile(join(home, 'postbox.json'), `${JSON.stringify(info, null, 1)}\n`),
    close() {
      if (temporary) rmSync(home, { recursive: true, force: true });
    },
  };
}

function replaceFile(file, content) {
  writeFileSync(`${file}.new`, content, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

function loadCertificate(home) {
  if (!existsSync(join(home, 'server.pem'))) makeCertificate(home);
  return {
    key: readFileSync(join(home, 'server.key')),
    cert: readFileSync(join(home, 'server.pem')),
    ca: readFileSync(join(home, 'ca.pem')),
  };
}

/**
 * Makes a certificate authority (ca.pem) and a server certificate for localhost and the loopback
 * addresses signed by it (server.pem, server.key), all P-256, in a directory that exists.
 */
export function makeCertificate(home) {
  const openssl = (...words) => execFileSync('openssl', words, { cwd: home, stdio: ['ignore', 'ignore', 'pipe'] });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', DAYS,
    '-subj', '/CN=Belfry postbox authority', '-addext', 'keyUsage=critical,keyCertSign');
  openssl('req', ...newKey, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=localhost');
  writeFileSync(join(home, 'server.ext'),
    'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nbasicConstraints=CA:FALSE\n');
  openssl('x509', '-req', '-in', 'server.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial',
    '-days', DAYS, '-extfile', 'server.ext', '-out', 'server.pem.new');
  for (const name of ['ca.key', 'ca.srl', 'server.csr', 'server.ext']) rmSync(join(home, name), { force: true });
  renameSync(join(home, 'server.pem.new'), join(home, 'server.pem'));
}
