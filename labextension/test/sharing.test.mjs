import assert from 'node:assert/strict';
import { test } from 'node:test';

import { kept } from '../lib/panel/sharing.js';

const old = { seq: 1, instances: [{ id: 'a', rates: [1, 2] }, { id: 'b', rates: [] }], none: null };
const copy = value => JSON.parse(JSON.stringify(value));

test('what is equal is the same object again', () => {
  assert.equal(kept(old, copy(old)), old);
});

test('only the way to a change is new', () => {
  const fresh = copy(old);
  fresh.instances[1].rates.push(3);
  const merged = kept(old, fresh);
  assert.deepEqual(merged, fresh);
  assert.notEqual(merged.instances, old.instances);
  assert.equal(merged.instances[0], old.instances[0]);
});

test('shorter, longer and other kinds of values are taken as they come', () => {
  for (const fresh of [{ ...old, instances: old.instances.slice(1) }, { ...old, more: 1 }, { seq: 1 }, { ...old, none: {} }, { ...old, instances: {} }, null, 3]) {
    assert.deepEqual(kept(old, copy(fresh)), fresh);
    assert.deepEqual(kept(copy(fresh), old), old);
  }
});

test('a field named like a part of every object is only a field', () => {
  const hostile = JSON.parse('{"__proto__": {"a": 1}, "constructor": 1}');
  assert.deepEqual(Object.keys(kept({}, hostile)), ['__proto__', 'constructor']);
  assert.equal({}.a, undefined);
});
