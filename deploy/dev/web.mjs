// The web server in front: the configurations of deploy/lighttpd and deploy/apache themselves, with
// this stack's paths in place of the installed ones and a head that says port, log and user.
//
//   lighttpd        FastCGI through a unix socket
//   cgi             lighttpd, one process for each request
//   apache          mod_proxy_fcgi
//   apache-cgi      mod_cgid
import { randomBytes } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { directLauncher, unprivileged } from './launch.mjs';
import { Service } from './service.mjs';

const DEPLOY = new URL('..', import.meta.url).pathname;
const MIME_TYPES = {
  '.html': 'text/html; charset=utf-8', '.css': 'text/css; charset=utf-8', '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8', '.json': 'application/json', '.svg': 'image/svg+xml', '.png': 'image/png',
  '.ico': 'image/x-icon', '.webmanifest': 'application/manifest+json', '.txt': 'text/plain; charset=utf-8',
};

export const WEB_SERVERS = ['lighttpd', 'cgi', 'apache', 'apache-cgi'];
export const isCgi = (webServer) => webServer.endsWith('cgi');

/**
 * The service. site: {dir, socketDir, host, port, www, socket (FastCGI), program and programEnv (CGI), files
 * ({path: file} served besides www), connect (further origins for connect-src), settings (further
 * lines for the configuration), logFile}.
 */
export function makeWeb(webServer, site) {
  mkdirSync(site.dir, { recursive: true });
  const stamp = `belfry-${randomBytes(6).toString('hex')}`;
  const { command, as, stopSignals } = webServer.startsWith('apache')
    ? apache(webServer, site, stamp) : lighttpd(webServer, site, stamp);
  const service = new Service({
    name: 'web',
    logFile: site.logFile,
    launch: directLauncher({
      command, env: { PATH: `${process.env.PATH}:/usr/sbin`, LANG: 'C.UTF-8' }, cwd: '/', logFile: site.logFile, as,
    }),
    ready: () => answers(site.host, site.port, stamp),
    stopSignals,
  });
  service.configFile = command.at(-1) === '-DFOREGROUND' ? command.at(-2) : command.at(-1);
  return service;
}

// Any answer that carries our stamp will do (somebody quicker may have the port): what is behind it has a
// readiness of its own.
function answers(host, port, stamp) {
  return new Promise((resolve) => {
    const request = http.get({ host, port, path: '/nothing-here', timeout: 2000, agent: false }, (response) => {
      response.resume();
      resolve(Object.values(response.headers).includes(stamp));
    });
    request.once('error', () => resolve(false)).once('timeout', () => request.destroy());
  });
}

// Puts our values in place of the ones a template was written with; a template that lost one fails.
function fill(file, values) {
  let text = readFileSync(join(DEPLOY, file), 'utf8');
  for (const [pattern, line] of values) {
    if (!pattern.test(text)) throw new Error(`${file} has no line like ${pattern}`);
    text = text.replace(pattern, () => line);
  }
  return text;
}

const quote = (text) => `"${String(text).replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
const pairs = (object) => Object.entries(object).map(([name, value]) => `${quote(name)} => ${quote(value)}`).join(',\n    ');

function lighttpd(webServer, site, stamp) {
  const variable = (name, value) => [new RegExp(`^var\\.belfry_${name} .*$`, 'm'), `var.belfry_${name} = ${quote(value)}`];
  const values = [variable('www', site.www), variable('connect', ["'self'", ...(site.connect ?? [])].join(' '))];
  if (isCgi(webServer)) {
    const environment = `setenv.set-environment += (\n    ${pairs(site.programEnv)}\n)`;
    values.push(variable('program', site.program), [/^setenv\.set-environment \+= \([^)]*\)$/m, environment]);
  } else {
    values.push(variable('socket', site.socket));
  }
  const body = fill(isCgi(webServer) ? 'lighttpd/belfry-cgi.conf' : 'lighttpd/belfry.conf', values);
  const head = `# Written by deploy/dev at each start.
server.modules       = ( "mod_indexfile", "mod_access" )
server.document-root = ${quote(site.www)}
server.bind          = ${quote(site.host)}
server.port          = ${site.port}
server.tag           = ${quote(stamp)}
server.upload-dirs   = ( ${quote(site.dir)} )
server.feature-flags += ( "server.graceful-shutdown-timeout" => 5, "server.h2proto" => "enable", "server.h2c" => "enable" )
server.http-parseopts = ( "url-normalize-required" => "enable", "url-path-dotseg-remove" => "enable", "url-ctrls-reject" => "enable" )
index-file.names     = ( "index.html" )
mimetype.assign      = (
    ${pairs(MIME_TYPES)},
    "" => "application/octet-stream"
)
`;
  const files = Object.keys(site.files ?? {}).length > 0 ? `alias.url += (\n    ${pairs(site.files)}\n)\n` : '';
  const file = join(site.dir, 'lighttpd.conf');
  writeFileSync(file, `${head}${body}${files}${site.settings ?? ''}`, { mode: 0o600 });
  // SIGINT: answer what is open, then end.
  return { command: ['lighttpd', '-D', '-f', file], as: null, stopSignals: [['SIGINT', 8000], ['SIGTERM', 2000]] };
}

function apache(webServer, site, stamp) {
  const paths = [site.dir, site.www, isCgi(webServer) ? site.program : site.socket];
  const as = unprivileged(['www-data', 'nobody'], paths, { readsOurs: isCgi(webServer) });
  const define = (name, value) => [new RegExp(`^Define BELFRY_${name} .*$`, 'm'), `Define BELFRY_${name} ${quote(value)}`];
  const values = [define('WWW', site.www)];
  if (isCgi(webServer)) {
    const environment = Object.entries(site.programEnv).map(([name, value]) => `SetEnv ${name} ${quote(value)}`).join('\n');
    values.push(define('PROGRAM', site.program), [/^SetEnv BELFRY_DB .*\nSetEnv BELFRY_KEYS_FILE .*$/m, environment]);
  } else {
    values.push(define('SOCKET', site.socket));
  }
  const body = fill(isCgi(webServer) ? 'apache/belfry-cgi.conf' : 'apache/belfry.conf', values);
  const modules = ['mpm_event', 'authz_core', 'alias', 'dir', 'mime', 'headers', 'env', 'setenvif',
    ...(isCgi(webServer) ? ['cgid'] : ['proxy', 'proxy_fcgi'])];
  const types = Object.entries(MIME_TYPES).map(([suffix, type]) => `AddType ${quote(type)} ${suffix}`).join('\n');
  const head = `# Written by deploy/dev at each start.
ServerRoot ${quote(site.dir)}
ServerName ${site.host}
Listen ${site.host}:${site.port}
ListenBacklog 4096
PidFile ${quote(join(site.dir, 'apache.pid'))}
DefaultRuntimeDir ${quote(site.dir)}
ErrorLog /proc/self/fd/2
LogLevel warn
${modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join('\n')}
${isCgi(webServer) ? `ScriptSock ${quote(join(site.socketDir, 'cgid.sock'))}` : ''}
ServerLimit 16
ThreadsPerChild 50
MaxRequestWorkers 800
Header always set Belfry-Stack ${quote(stamp)}
TypesConfig /dev/null
${types}
`;
  const files = Object.entries(site.files ?? {}).map(([path, file]) => `Alias ${path} ${quote(file)}\n`).join('');
  const file = join(site.dir, 'apache.conf');
  writeFileSync(file, `${head}${files}${body}${site.settings ?? ''}`);
  if (!existsSync(site.logFile)) writeFileSync(site.logFile, '');
  mkdirSync(site.socketDir, { recursive: true });
  if (as) [site.dir, site.socketDir, site.logFile].forEach((path) => chownSync(path, as.uid, as.gid));
  // SIGWINCH is Apache's graceful stop.
  return { command: ['apache2', '-f', file, '-DFOREGROUND'], as, stopSignals: [['SIGWINCH', 8000], ['SIGTERM', 3000]] };
}
