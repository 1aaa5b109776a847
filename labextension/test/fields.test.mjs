import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { readFields } from '../lib/cells/fields.js';

const cases = JSON.parse(readFileSync(new URL('template-cases.json', import.meta.url), 'utf8'));
const found = text => readFields(text).map(({ kind, from, to }) => [kind, text.slice(from, to)]);

test('fields are found where the kernel finds them', () => {
  for (const { text, found: expected } of cases) {
    assert.deepEqual(found(text), expected, text);
  }
});

test('a brace that is open does not reach over a blank line', () => {
  assert.deepEqual(found('{open\n\nlater: {x}'), [
    ['refused', '{'],
    ['field', '{x}']
  ]);
});

test('offsets are those of the whole text', () => {
  assert.deepEqual(readFields('{x}', 10), [{ kind: 'field', from: 10, to: 13 }]);
});

test('a text of open braces costs little', () => {
  const began = performance.now();
  readFields('{ '.repeat(20_000));
  assert.ok(performance.now() - began < 5_000);
});
