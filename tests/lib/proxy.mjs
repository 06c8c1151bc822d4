// proxy: a reverse proxy on a free loopback port that strips a prefix from addresses and
// changes nothing else: no header, no Location, no text, no Host. What is not below the
// prefix is 404 and noted in `astray`. It passes on what it has as it comes.
import http from 'node:http';

export async function startProxy(target, prefix) {
  const astray = [];
  const { hostname, port } = new URL(target);
  const proxy = http.createServer((request, response) => {
    if (!request.url.startsWith(`${prefix}/`)) {
      astray.push(request.url);
      response.writeHead(404).end();
      return;
    }
    const { method, headers } = request;
    const onward = http.request({ hostname, port, method, headers, path: request.url.slice(prefix.length) }, (answer) => {
      response.writeHead(answer.statusCode, answer.rawHeaders);
      response.flushHeaders();
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${proxy.address().port}${prefix}`;
  const stop = () => new Promise((resolve) => {
    proxy.close(resolve);
    proxy.closeAllConnections?.();
  });
  return { url, api: (route, init) => fetch(`${url}/api/v1${route}`, init), astray, stop };
}
