import { expect, test } from '@jest/globals';

import { kept } from '../../src/panel/sharing';

const old = { seq: 1, instances: [{ id: 'a', rates: [1, 2] }, { id: 'b', rates: [] }], none: null };
const copy = <T>(value: T): T => JSON.parse(JSON.stringify(value));

test('what is equal is the same object again', () => {
  expect(kept(old, copy(old))).toBe(old);
});

test('only the way to a change is new', () => {
  const fresh = copy(old);
  fresh.instances[1].rates.push(3);
  const merged = kept(old, fresh);
  expect(merged).toEqual(fresh);
  expect(merged.instances).not.toBe(old.instances);
  expect(merged.instances[0]).toBe(old.instances[0]);
});

test('shorter, longer and other kinds of values are taken as they come', () => {
  for (const fresh of [{ ...old, instances: old.instances.slice(1) }, { ...old, more: 1 }, { seq: 1 }, { ...old, none: {} }, { ...old, instances: {} }, null, 3]) {
    expect(kept(old, copy(fresh))).toEqual(fresh);
    expect(kept(copy(fresh), old)).toEqual(old);
  }
});

test('a field named like a part of every object is only a field', () => {
  const hostile = JSON.parse('{"__proto__": {"a": 1}, "constructor": 1}');
  expect(Object.keys(kept({}, hostile))).toEqual(['__proto__', 'constructor']);
  expect(Reflect.get({}, 'a')).toBeUndefined();
});
