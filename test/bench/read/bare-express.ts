import express from 'express';

/**
 * The limit of the bench `read`: a process with Express and one route that answers the same bytes, without credential, permission,
 * trace, log, measures and data. Prints its port. The body comes as the first argument.
 */
const body: unknown = JSON.parse(process.argv[2] ?? '{}');
const app = express();
app.get('/v1/runs/:id', (_request, response) => {
  response.json(body);
});
const server = app.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`${typeof address === 'object' && address !== null ? address.port : 0}\n`);
});
// Its connections rest while the API's are measured; by default they would be closed after five seconds.
server.keepAliveTimeout = 65_000;
