// A PostgreSQL server's unix socket with somebody in between who can cut a connection at the worst moment.
//
//   const proxy = await startCuttingProxy(() => '/path/.s.PGSQL.5432');
//   conninfo: host=${proxy.dir} port=5432 ...
//   proxy.cutAfterCommit('marker')   // the next transaction that mentions it commits, and nobody learns
//   proxy.cutBefore('marker')        // the next statement that mentions it never reaches the server
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const COMMITTED = Buffer.from('COMMIT\0'); // the tag in the server's CommandComplete

export async function startCuttingProxy(targetPath) {
  const dir = mkdtempSync(join(tmpdir(), 'belfry-cut-'));
  chmodSync(dir, 0o755);
  const proxy = { dir, cuts: 0, order: null };
  const open = new Set();
  const server = net.createServer((client) => relay(proxy, open, client, net.connect(targetPath())));
  await new Promise((resolve) => server.listen(join(dir, '.s.PGSQL.5432'), resolve));
  chmodSync(join(dir, '.s.PGSQL.5432'), 0o777);
  proxy.cutAfterCommit = (marker) => { proxy.order = { marker, when: 'committed' }; };
  proxy.cutBefore = (marker) => { proxy.order = { marker, when: 'before' }; };
  proxy.close = async () => {
    open.forEach((socket) => socket.destroy());
    await new Promise((resolve) => server.close(resolve));
    rmSync(dir, { recursive: true, force: true });
  };
  return proxy;
}

function relay(proxy, open, client, server) {
  let doomed = false; // its transaction mentioned the marker: cut when it has committed
  const cut = () => {
    proxy.cuts++;
    client.destroy();
    server.destroy();
  };
  for (const [socket, other] of [[client, server], [server, client]]) {
    open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      open.delete(socket);
      other.destroy();
    });
  }
  client.on('data', (data) => {
    if (proxy.order && data.includes(proxy.order.marker)) {
      const { when } = proxy.order;
      proxy.order = null;
      if (when === 'before') return cut();
      doomed = true;
    }
    return server.write(data);
  });
  server.on('data', (data) => (doomed && data.includes(COMMITTED) ? cut() : client.write(data)));
}
