// Runs when all else has: did every route, with every status that the document promises, occur in some test?
// The answers were noted by tests/api/lib.mjs, which holds each against the document.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import SwaggerParser from '@apidevtools/swagger-parser';
import { contract, routes } from '../api/lib.mjs';

const output = join(process.env.TEST_OUTPUT ?? '', 'answers');

test('the document is valid OpenAPI 3.1', async () => {
  const parsed = await SwaggerParser.validate(structuredClone(contract));
  assert.equal(parsed.openapi.slice(0, 3), '3.1');
});

test('every object of an answer is closed, so that a field nobody described cannot slip in', () => {
  const open = [];
  const walk = (schema, path) => {
    if (schema === null || typeof schema !== 'object') return;
    if (schema.type === 'object' && schema.additionalProperties === undefined) open.push(path);
    for (const [key, value] of Object.entries(schema)) if (key !== 'example' && key !== 'examples') walk(value, `${path}/${key}`);
  };
  for (const [name, schema] of Object.entries(contract.components.schemas)) walk(schema, name);
  assert.deepEqual(open.filter((path) => !/^BulkRequest/.test(path)), []);
});

test('every route answered with every status that the document promises', { skip: existsSync(output) ? false : 'needs the answers of a whole run' }, () => {
  const seen = new Set(readdirSync(output).flatMap((file) => readFileSync(join(output, file), 'utf8').trim().split('\n')));
  const promised = routes.flatMap((route) => Object.keys(route.operation.responses).map((status) => `${route.method} ${route.path} ${status}`));
  assert.deepEqual(promised.filter((line) => !seen.has(line)), []);
});
