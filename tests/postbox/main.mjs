// The postbox as a program:
//
//   node tests/postbox/main.mjs [--dir DIR] [--host 127.0.0.1] [--http-port N] [--https-port N]
//                               [--smtp-port N] [--smtps-port N] [--user U] [--password P]
//
// Ports that are not given, or 0, are free ones. Prints one JSON line when everything accepts
// ({"url","httpsUrl","smtpPort","smtpsPort","user","password","caFile",...}); with --dir the same
// stands in DIR/postbox.json. SIGINT and SIGTERM stop it.
import { parseArgs } from 'node:util';
import { startPostbox } from './index.mjs';

const text = { type: 'string' };
const { values } = parseArgs({
  options: {
    dir: text, host: text, user: text, password: text,
    'http-port': text, 'https-port': text, 'smtp-port': text, 'smtps-port': text,
  },
});
const port = (name) => (values[name] === undefined ? undefined : Number(values[name]));

const postbox = await startPostbox({
  dir: values.dir,
  host: values.host,
  user: values.user,
  password: values.password,
  httpPort: port('http-port'),
  httpsPort: port('https-port'),
  smtpPort: port('smtp-port'),
  smtpsPort: port('smtps-port'),
});
const { pid, url, httpsUrl, host, smtpPort, smtpsPort, user, password, caFile } = postbox;
console.log(JSON.stringify({ pid, url, httpsUrl, host, smtpPort, smtpsPort, user, password, caFile }));

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => postbox.close().then(() => process.exit(0)));
}
